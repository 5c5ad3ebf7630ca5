"""Children that outlive us: whose identity is theirs from the moment on that their pid is known."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banger.errors import HostNotReady
from banger.host import process
from banger.host.spawn import spawn_detached
from tests.requirements import needs

SLEEP = Path("/usr/bin/sleep")
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


class Children:
    """Starts programs that sleep, and ends them all."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def start(self, **more: Any) -> int:
        pid = spawn_detached(
            (str(SLEEP), "60"), env=ENVIRONMENT, stdin=-3, stdout=-3, stderr=-3, **more
        )
        self.pids.append(pid)
        return pid

    def end(self) -> None:
        for pid in self.pids:
            ticks = process.start_ticks(pid, even_dead=True)
            if ticks is not None:
                process.kill_exact(pid, ticks, 9)
                assert process.wait_gone_blocking(pid, ticks, 5)


@pytest.fixture
def children() -> Iterator[Children]:
    made = Children()
    yield made
    made.end()


def seen(pid: int) -> tuple[str, list[str]]:
    return process.executable_of(pid), process.argv_of(pid)


RUNNING = (str(SLEEP.resolve()), [str(SLEEP), "60"])


def test_it_runs_its_program_when_its_pid_is_known(children: Children) -> None:
    found: list[tuple[str, list[str]]] = []

    def start_some() -> None:
        found.extend(seen(children.start()) for _ in range(10))

    threads = [threading.Thread(target=start_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [RUNNING] * 40


@needs("root")
def test_so_it_does_as_another_user(children: Children) -> None:
    pid = children.start(run_as=(65534, 65534), extra_groups=(1,))
    assert seen(pid) == RUNNING
    assert process.real_uid(pid) == 65534


class Late:
    """A ``Popen`` that comes back before its child has changed programs."""

    def __init__(self, argv: list[str], *, env: dict[str, str], **_others: object) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                time.sleep(0.1)
                os.execve(argv[0], argv, env)
            finally:
                os._exit(1)


@pytest.mark.parametrize("user", [None, pytest.param((65534, 65534), marks=needs("root"))])
def test_a_copy_of_us_is_waited_for(
    children: Children, monkeypatch: pytest.MonkeyPatch, user: tuple[int, int] | None
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Late)
    assert seen(children.start(run_as=user)) == RUNNING


def test_one_that_has_ended_at_once_is_not_waited_for(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banger.host.spawn._EXEC_SECONDS", 3600.0)
    monkeypatch.setattr(os, "execve", lambda *_arguments: os._exit(3))
    monkeypatch.setattr(subprocess, "Popen", Late)
    assert seen(children.start())[1] == []


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(HostNotReady, match="/nowhere/program could not be started"):
        spawn_detached(("/nowhere/program",), env={}, stdin=-3, stdout=-3, stderr=-3)
