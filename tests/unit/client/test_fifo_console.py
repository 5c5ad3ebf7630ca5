"""A console of two halves: keys go into a FIFO, output comes from a log."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from banger.client.fifo_console import attach_fifo
from banger.client.terminal import attach_console
from banger.errors import BangerError


class Terminal:
    """A person with a keyboard and a screen."""

    def __init__(self) -> None:
        self.stdin, self.keyboard = os.pipe()
        self.screen, self.stdout = os.pipe()

    def close(self) -> None:
        for descriptor in (self.stdin, self.keyboard, self.screen, self.stdout):
            os.close(descriptor)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "console.sock"
    os.mkfifo(path, 0o600)
    return path


def test_keys_go_in_and_what_is_printed_comes_out(
    terminal: Terminal, fifo: Path, tmp_path: Path
) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"old\n")
    guest = os.open(fifo, os.O_RDWR)
    left: list[bool] = []
    session = threading.Thread(
        target=lambda: left.append(
            attach_console(str(fifo), terminal.stdin, terminal.stdout, log=str(log))
        )
    )
    session.start()
    os.write(terminal.keyboard, b"ls")
    assert os.read(guest, 10) == b"ls"
    with log.open("ab") as file:
        file.write(b"bin etc\n")
    assert os.read(terminal.screen, 100) == b"bin etc\n"
    log.write_bytes(b"")  # it was cut
    with log.open("ab") as file:
        file.write(b"more\n")
    os.write(terminal.keyboard, b"q\x1dnot for the guest")
    session.join(10)
    assert left == [True]
    assert os.read(guest, 100) == b"q"
    os.close(guest)


def test_the_end_of_the_vm_ends_it(terminal: Terminal, fifo: Path, tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.touch()
    guest = os.open(fifo, os.O_RDWR)
    timer = threading.Timer(0.1, os.close, [guest])
    timer.start()
    assert attach_fifo(str(fifo), str(log), terminal.stdin, terminal.stdout) is False
    timer.join()


def test_a_vm_that_is_gone_is_said(terminal: Terminal, fifo: Path) -> None:
    with pytest.raises(BangerError, match="cannot be reached"):
        attach_fifo(str(fifo), "/absent", terminal.stdin, terminal.stdout)
