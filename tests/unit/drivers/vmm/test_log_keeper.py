"""The process that keeps logs short, really started; a process with a mark stands for a VMM."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banger.drivers.vmm import console_log
from banger.drivers.vmm.log_keeper import LogKeeper
from banger.host import process

ID = "0123456789ab"
SECONDS = 20.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)


class Place:
    """A folder of VMs with one that has said too much, its VMM, and the keeper of its logs."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / ID / "console.log"
        self.log.parent.mkdir()
        self.socket = folder.parent / "s"
        mark = f"banger-{os.getpid()}-"
        code = "import sys; sys.stdin.read()"
        self.vmm = subprocess.Popen(
            [sys.executable, "-c", code, f"guest={mark}{ID}"], stdin=subprocess.PIPE
        )
        self.keeper = LogKeeper(folder, self.socket, mark, pause=0.02)
        self.pid = self.keeper.start()
        ticks = process.start_ticks(self.pid)
        assert ticks is not None
        self.ticks = ticks

    def flood(self) -> None:
        with self.log.open("ab") as log:
            log.write(b"x" * (console_log.LIMIT + 1))

    @property
    def is_long(self) -> bool:
        return self.log.stat().st_size > console_log.LIMIT

    def is_over(self) -> bool:
        return process.wait_gone_blocking(self.pid, self.ticks, SECONDS)

    def end(self) -> None:
        self.keeper.let_go()
        assert self.vmm.stdin is not None
        self.vmm.stdin.close()
        self.vmm.wait(SECONDS)
        assert self.is_over()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "vms").mkdir()
    place = Place(tmp_path / "vms")
    yield place
    place.end()


def test_logs_are_kept_short_from_the_end_of_the_daemon_to_that_of_the_last_vm(
    place: Place,
) -> None:
    place.flood()
    assert place.is_long
    place.keeper.let_go()
    until(lambda: not place.is_long)
    place.flood()
    until(lambda: not place.is_long)
    assert process.start_ticks(place.pid) == place.ticks
    assert place.vmm.stdin is not None
    place.vmm.stdin.close()
    place.vmm.wait(SECONDS)
    assert place.is_over()


def test_the_next_daemon_relieves_it(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(place.socket))
        daemon.listen()
        place.keeper.let_go()
        assert place.is_over()
    assert place.vmm.poll() is None


def test_without_a_vm_it_ends_with_the_daemon(place: Place) -> None:
    assert place.vmm.stdin is not None
    place.vmm.stdin.close()
    place.vmm.wait(SECONDS)
    place.keeper.let_go()
    assert place.is_over()
