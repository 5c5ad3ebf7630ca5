"""``banger`` as a child: on our terminal, or with its output captured."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from unittest import mock

import pytest

from banger.client import child
from banger.client.terminal import wait_for
from banger.host.spawn import spawn_in_terminal
from tests.fakes.cli_home import CLIHome


@pytest.fixture
def environment(banger: CLIHome) -> Iterator[None]:
    with mock.patch.dict(os.environ, banger.environment):
        yield


@pytest.mark.usefixtures("environment")
def test_what_a_command_prints_is_captured_with_its_status() -> None:
    printed: list[bytes] = []
    assert child.CapturedCommand(["version"], printed.append).run(80) == 0
    assert b"".join(printed).startswith(b"banger ")
    printed.clear()
    assert child.CapturedCommand(["show", "nobody"], printed.append).run(80) == 4
    assert b"error:" in b"".join(printed)


@pytest.mark.usefixtures("environment")
def test_a_command_that_goes_on_is_interrupted(banger: CLIHome) -> None:
    banger.fake.events_live = True
    banger.fake.events = [("vm", {"name": "web", "state": "running"})]
    began = threading.Event()
    command = child.CapturedCommand(["events"], lambda _piece: began.set())

    def interrupt() -> None:
        began.wait(20)
        command.interrupt()

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    assert command.run(80) == 130
    interrupter.join()
    banger.fake.events_live = False
    command.interrupt()  # it has ended: nothing happens


@pytest.mark.usefixtures("environment")
def test_a_command_on_our_terminal_and_who_is_interrupted() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert child.run_in_terminal(["--version"]) == 0
    assert child.run_in_terminal(["no-such-command"]) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_child_on_our_terminal_is_of_our_session() -> None:
    program = "import os, sys; sys.exit(os.getsid(0) != int(sys.argv[1]))"
    argv = [sys.executable, "-c", program, str(os.getsid(0))]
    assert wait_for(spawn_in_terminal(argv, env=os.environ)) == 0
