from __future__ import annotations

import asyncio
import gc
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.errors import CommandFailed, DeadlineExceeded, HostNotReady
from banger.host import process
from banger.host.command import Command, find_program, run, run_blocking
from banger.host.lines import LineSplitter


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def shell(script: str, **options: object) -> Command:
    return Command(("sh", "-c", script), **options)  # type: ignore[arg-type]


async def test_output_is_captured_apart() -> None:
    done = await run(shell("echo out; echo err >&2"))
    assert (done.text, done.stderr, done.status) == ("out\n", b"err\n", 0)


async def test_stdin_larger_than_a_pipe_goes_through() -> None:
    data = os.urandom(1 << 20)
    assert (await run(Command(("cat",), stdin=data))).stdout == data


async def test_a_program_may_leave_its_input_unread() -> None:
    assert (await run(Command(("true",), stdin=bytes(1 << 20)))).status == 0
    assert (await run(Command(("true",), stdin=bytes(1 << 20)), on_line=print)).status == 0


async def test_lines_and_log_hold_both_streams(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "log"
    log.write_text("before\n")
    await run(shell("echo a; echo b >&2; printf '1%%\\r2%%'"), on_line=lines.append, log=log)
    assert lines == ["a", "b", "1%", "2%"]
    assert log.read_bytes() == b"before\na\nb\n1%\r2%"


async def test_input_with_lines() -> None:
    lines: list[str] = []
    await run(Command(("cat",), stdin=b"x\ny"), on_line=lines.append)
    assert lines == ["x", "y"]


async def test_an_error_in_the_callback_ends_the_program() -> None:
    def refuse(line: str) -> None:
        raise KeyError(line)

    began = time.monotonic()
    with pytest.raises(KeyError):
        await run(shell("echo a; sleep 30"), on_line=refuse)
    assert time.monotonic() - began < 10


async def test_failure_names_program_status_and_last_line() -> None:
    with pytest.raises(CommandFailed) as caught:
        await run(shell("echo first >&2; echo last >&2; exit 3"))
    assert caught.value.brief == "sh failed with status 3"
    assert caught.value.cause == "last"
    assert "first" in caught.value.details


async def test_escape_sequences_do_not_reach_the_error() -> None:
    with pytest.raises(CommandFailed) as caught:
        await run(shell(r"printf '\033[31mred' >&2; exit 1"))
    assert "\x1b" not in caught.value.cause + caught.value.details


async def test_other_statuses_can_be_accepted() -> None:
    assert (await run(shell("exit 3", ok_statuses=(0, 3)))).status == 3


async def test_death_by_signal_is_told() -> None:
    with pytest.raises(CommandFailed, match="ended by signal 9"):
        await run(shell("kill -9 $$"))


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_the_whole_group_ends(tmp_path: Path, how: str) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait"
    command = shell(script, timeout=0.5 if how == "timeout" else 60)
    task = asyncio.create_task(run(command))
    await asyncio.to_thread(until, pids.exists)
    if how == "timeout":
        with pytest.raises(DeadlineExceeded, match="sh did not end within"):
            await task
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.sleep(0.05)
    assert [process.start_ticks(int(pid)) for pid in pids.read_text().split()] == [None, None]


@pytest.mark.parametrize("pauses", [(0.0, 0.0), (0.0, 0.0, 0.0), (0.3, 0.0), (0.3, 0.1)])
def test_a_program_is_reaped_however_often_it_is_cancelled(pauses: tuple[float, ...]) -> None:
    """A task that is being cancelled is cancelled again when the event loop ends."""

    async def cancel_again_and_again() -> None:
        task = asyncio.create_task(run(shell("trap '' TERM; sleep 60 & wait")))
        for pause in pauses:
            await asyncio.sleep(pause)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_again_and_again())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize(
    ("uid", "mend"),
    [(0, "apt-get install some-package"), (1000, "sudo apt-get install some-package")],
)
def test_missing_program_names_its_package(
    uid: int, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(HostNotReady) as caught:
        find_program("no-such-program", "some-package")
    assert caught.value.resolution == mend


def test_a_program_of_the_system_folders_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("sh").is_absolute()


def test_relative_path_entries_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "evil-program").write_text("#!/bin/sh\n")
    (tmp_path / "evil-program").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".:/usr/bin")
    with pytest.raises(HostNotReady):
        find_program("evil-program")


def test_blocking_run_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("https_proxy", "proxy:1")
    environment = run_blocking(Command(("env",), env={"EXTRA": "1"})).text.splitlines()
    assert {"LC_ALL=C.UTF-8", "EXTRA=1", "https_proxy=proxy:1"} <= set(environment)
    assert "SECRET_TOKEN=x" not in environment


def test_blocking_run_ends_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        run_blocking(shell("sleep 30 & sleep 30", timeout=0.2))
    assert time.monotonic() - began < 10


def test_unstartable_program(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with pytest.raises(CommandFailed, match="broken could not be started"):
        run_blocking(Command((str(broken),)))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.integers(1, 7))
def test_lines_do_not_depend_on_the_pieces(text: str, size: int) -> None:
    data = text.encode()
    splitter = LineSplitter()
    lines = [
        line
        for start in range(0, len(data), size)
        for line in splitter.feed(data[start : start + size])
    ] + splitter.end()
    assert lines == [line for line in text.replace("\r", "\n").split("\n") if line]
