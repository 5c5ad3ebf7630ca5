"""Hands the terminal to OpenSSH or to a VM's console, and takes it back."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import NoReturn

from banger.client.fifo_console import ESCAPE, attach_fifo
from banger.errors import BangerError, HostNotReady


def program(name: str) -> str:
    """The path of OpenSSH's program. Raises ``HostNotReady`` if it is not installed."""
    found = which(name)
    if found is None:
        raise HostNotReady(
            f"{name} is not installed",
            cause="the OpenSSH client reaches the guest",
            resolution="sudo apt-get install openssh-client",
        )
    return found


def exec_ssh(argv: Sequence[str]) -> NoReturn:
    """Become OpenSSH: its exit status, the guest's own, is then ours."""
    found = program(argv[0])
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores SIGPIPE, and an ignored signal would stay ignored in ssh.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(found, list(argv))  # noqa: S606 - no shell is what is wanted


def run_ssh(argv: Sequence[str], *, stdin: bool = True, streams: tuple[int, int] = (0, 1)) -> int:
    """Run OpenSSH as a child and return its exit status; ended with us when interrupted.

    ``streams`` are the descriptors that become its stdin and stdout.
    """
    pid = start_ssh(argv, streams if stdin else (-1, streams[1]))
    try:
        return wait_for(pid)
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise


def start_ssh(argv: Sequence[str], streams: tuple[int, int]) -> int:
    """Start OpenSSH and return its pid; -1 for stdin is an empty one."""
    from banger.host.spawn import spawn_detached

    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return spawn_detached(
            [program(argv[0]), *argv[1:]],
            env=dict(os.environ),
            stdin=null if streams[0] < 0 else streams[0],
            stdout=streams[1],
            stderr=2,
        )
    finally:
        os.close(null)


def wait_for(pid: int) -> int:
    """The exit status of our child, as a shell reports it."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Pass every key through unchanged; the terminal is as before afterwards."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def attach_console(path: str, stdin: int, stdout: int, *, log: str) -> bool:
    """Connect the terminal to the console's socket until Ctrl-] or the console's end.

    True if the person left, False if the VM ended. A stdin that is not a terminal may end
    without ending the session: the console is then only watched. Where the VMM has no socket
    for it, ``path`` is a FIFO for its input, and the output is read from ``log``.
    """
    if Path(path).is_fifo():
        with raw_mode(stdin):
            return attach_fifo(path, log, stdin, stdout)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as console:
        try:
            console.connect(path)
        except OSError as error:
            raise BangerError(
                "the console cannot be reached",
                cause=f"{path}: {error.strerror or error}",
                resolution="banger ls",
            ) from None
        with raw_mode(stdin):
            return _pump(console, stdin, stdout)


def _pump(console: socket.socket, stdin: int, stdout: int) -> bool:
    poll = select.poll()
    poll.register(console, select.POLLIN)
    poll.register(stdin, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if stdin in ready:
            keys = os.read(stdin, 4096)
            if not keys:
                poll.unregister(stdin)
            before, escape, _ = keys.partition(ESCAPE)
            try:
                console.sendall(before)
            except OSError:
                return False
            if escape:
                return True
        if console.fileno() in ready:
            try:
                output = console.recv(65536)
            except OSError:
                output = b""
            if not output:
                return False
            while output:
                output = output[os.write(stdout, output) :]
