"""What only a real terminal shows: questions, the living line, and Ctrl-C by key."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.fakes.cli_home import CLIHome


class Session:
    """One command on a terminal of its own."""

    def __init__(self, banger: CLIHome, *argv: str):
        self.master, slave = pty.openpty()
        self.output = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "banger", *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | banger.environment | {"COLUMNS": "60"},
            start_new_session=True,
        )
        os.close(slave)

    def read(self, until: Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:
                    break
                self.output += piece

    def expect(self, text: bytes) -> None:
        self.read(lambda: text in self.output)
        assert text in self.output, self.output

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        self.read(lambda: self.process.poll() is not None)
        status = self.process.wait(timeout=10)
        self.read(lambda: False, 0.1)
        os.close(self.master)
        return status


@pytest.mark.parametrize(("answer", "status", "left"), [(b"yes\n", 0, 0), (b"y\n", 130, 2)])
def test_all_is_deleted_after_a_yes(banger: CLIHome, answer: bytes, status: int, left: int) -> None:
    banger.fake.add_vm("web")
    banger.fake.add_vm("db")
    session = Session(banger, "rm", "--all")
    session.expect(b"this deletes all 2 VMs and their disks. Type yes to go on: ")
    session.type(answer)
    assert session.end() == status
    assert len(banger.fake.vms) == left


def test_the_living_line_goes_away(banger: CLIHome) -> None:
    banger.fake.endless.add("vm.stop")
    banger.fake.add_vm("web", state="running")
    session = Session(banger, "stop", "web")
    session.expect("⠸ stop web: stop".encode())
    (operation,) = banger.fake.operations.values()
    with banger.fake.changed:
        operation["status"] = "succeeded"
        banger.fake.changed.notify_all()
    assert session.end() == 0
    assert session.output.endswith(b"\r\x1b[Kstopped web\r\n")


def test_a_second_interrupt_does_not_wait(banger: CLIHome) -> None:
    banger.fake.add_image()
    banger.fake.endless |= {"vm.start", "vm.delete"}
    session = Session(banger, "run", "--name", "web")
    session.expect(b"start web: wait for SSH")
    session.process.send_signal(signal.SIGINT)
    session.expect(b"interrupted; removing what was made")
    deadline = time.monotonic() + 5
    while not any(method == "DELETE" for method, *_ in banger.fake.requests):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    began = time.monotonic()
    session.process.send_signal(signal.SIGINT)
    assert session.end() == 130
    assert time.monotonic() - began < 2


def test_termination_cleans_up_too(banger: CLIHome) -> None:
    banger.fake.add_image()
    banger.fake.endless.add("vm.start")
    session = Session(banger, "run", "--name", "web")
    session.expect(b"start web: wait for SSH")
    session.process.send_signal(signal.SIGTERM)
    assert session.end() == 130
    assert not banger.fake.vms


def test_ignored_interrupts_stay_ignored(banger: CLIHome) -> None:
    """A background job of a script must not be interrupted by what was meant for others."""
    banger.fake.add_image()
    done = subprocess.run(
        ["sh", "-c", f"trap '' INT; {sys.executable} -m banger run -q --name web"],
        env=os.environ | banger.environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"web\n")


def test_the_screen_needs_a_terminal(banger: CLIHome) -> None:
    done = banger("tui")
    assert done.status == 2
    assert "banger tui needs a terminal" in done.stderr
    assert "try:   banger ls" in done.stderr
    assert not banger.fake.requests
