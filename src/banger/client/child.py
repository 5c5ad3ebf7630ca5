"""Runs the ``banger`` command as a child: with our terminal, or with its output captured."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from banger.client.terminal import program, wait_for

_PIECE = 65536


def _argv(words: Sequence[str]) -> list[str]:
    # -P keeps the user's present folder out of the module search path.
    return [sys.executable, "-P", "-m", "banger", *words]


def run_in_terminal(words: Sequence[str]) -> int:
    """Run ``banger WORDS`` on our terminal and return its exit status.

    An interrupt from the keyboard is the child's alone. Call it in the main thread. Raises
    ``HostNotReady``.
    """
    return _in_terminal(_argv(words))


def ssh_in_terminal(argv: Sequence[str]) -> int:
    """The same for OpenSSH, which is ended with us when we are."""
    return _in_terminal([program(argv[0]), *argv[1:]])


def _in_terminal(argv: Sequence[str]) -> int:
    from banger.host.spawn import spawn_in_terminal

    # A handler, unlike an ignored signal, is not passed on to the child.
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        pid = spawn_in_terminal(argv, env=os.environ)
        try:
            return wait_for(pid)
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            wait_for(pid)
            raise
    finally:
        signal.signal(signal.SIGINT, before)


class CapturedCommand:
    """``banger WORDS`` without a terminal; ``on_output`` gets what it prints, as it comes."""

    def __init__(self, words: Sequence[str], on_output: Callable[[bytes], None]) -> None:
        self._words = words
        self._on_output = on_output
        self._pid = 0

    def run(self, columns: int) -> int:
        """Run to the end and return the exit status. Raises ``HostNotReady``."""
        from banger.host.spawn import spawn_detached

        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            environment = dict(os.environ) | {"COLUMNS": str(columns), "NO_COLOR": "1"}
            self._pid = spawn_detached(
                _argv(self._words), env=environment, stdin=null, stdout=theirs, stderr=theirs
            )
        finally:
            os.close(null)
            os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as output:
            while piece := output.read(_PIECE):
                self._on_output(piece)
        pid, self._pid = self._pid, 0
        return wait_for(pid)

    def interrupt(self) -> None:
        """Ask it to end, as Ctrl-C does."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGINT)
