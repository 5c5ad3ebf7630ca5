"""Boots a throw-away guest, watches its serial console for proof of life, and always ends it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from banger.errors import BangerError
from banger.host import process
from banger.host.command import base_environment, find_program
from banger.host.spawn import spawn_detached

_POLL = 0.02
#: How many times as long as its silence may last the whole trial may.
_MOST = 4
#: How long a killed VMM may take to be gone, in seconds.
_END = 5.0
#: Asks a kernel for its notices and worse (each character on the serial console leaves the guest,
#: and all that Linux has to say is twenty thousand of them), and for no self tests of its crypto
#: code, the longest part of its start. An initramfs that is built in is passed over: what a kernel
#: says of its first program is no notice, its end without a root is one.
BRIEF = "loglevel=6 cryptomgr.notests=1 rdinit=/none"
#: How much of console and messages is kept for the verdict, in bytes.
_TAIL = 2000


class Trial(Struct, frozen=True):
    """What a trial showed. ``console`` and ``messages`` are the tails of serial and stderr."""

    passed: bool
    seconds: float
    console: str
    messages: str
    ended: bool

    def last_words(self) -> str:
        """The line that says most about a failure; empty if there was none."""
        for text in (self.messages, self.console):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1]
        return ""


@contextlib.contextmanager
def in_memory(name: str, content: bytes) -> Iterator[Path]:
    """A file for a child of ours to read: in memory, so that nothing of it is ever left behind."""
    descriptor = os.memfd_create(name)
    try:
        os.write(descriptor, content)
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def qemu_argv(accelerator: str, cpu: str, machine: str, kernel: Path) -> tuple[str, ...]:
    """QEMU with the guest's console on standard output and nothing else attached."""
    return (
        "qemu-system-x86_64", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
        "-sandbox", "on", "-machine", machine, "-accel", accelerator, "-cpu", cpu,
        "-m", "128M", "-serial", "stdio", "-kernel", str(kernel),
        "-append", f"console=ttyS0 panic=-1 reboot=t {BRIEF}",
    )  # fmt: skip


def run_trial(argv: tuple[str, ...], proof: str, timeout: float) -> Trial:
    """Run a VMM until the pattern ``proof`` appears on its standard output.

    Blocks until nothing new was there for ``timeout`` seconds: a guest that boots slowly, because
    the host is busy, goes on printing. In all it gets four times as long; then the VMM is gone. It
    is gone also if we are killed meanwhile: the kernel ends it with us.
    """
    argv = (str(find_program(argv[0])), *argv[1:])
    with contextlib.suppress(BangerError):
        argv = (str(find_program("setpriv", "util-linux")), "--pdeathsig", "KILL", *argv)
    with tempfile.TemporaryFile() as console, tempfile.TemporaryFile() as messages:
        began = time.monotonic()
        pid = spawn_detached(
            argv,
            env=base_environment(),
            stdin=-3,
            stdout=console.fileno(),
            stderr=messages.fileno(),
        )
        ticks = process.start_ticks(pid)
        try:
            passed, ended = _watch(pid, ticks, console.fileno(), re.compile(proof), timeout)
            seconds = time.monotonic() - began
        finally:
            _end(pid, ticks)
        return Trial(
            passed, seconds, _tail(console.fileno()), _tail(messages.fileno()), ended=ended
        )


def run_bare_trial(argv: tuple[str, ...], proof: str, timeout: float) -> Trial:
    """:func:`run_trial` for a bare guest, which is ready in a moment: its silence is proved twice.

    On a KVM that runs such a guest in 0.02 s, now and then one said nothing for seconds, and a
    longer limit did not help; none of 20,000 others did. What is told of the guest is told of the
    host, and believed until that boots again. A VMM that ends is believed at once: it says why.
    """
    trial = run_trial(argv, proof, timeout)
    return trial if trial.passed or trial.ended else run_trial(argv, proof, timeout)


def _watch(
    pid: int, ticks: int | None, console: int, proof: re.Pattern[str], timeout: float
) -> tuple[bool, bool]:
    """Whether the proof came, and whether the VMM ended by itself."""
    began = heard = time.monotonic()
    size = 0
    while True:
        ended = ticks is None or process.wait_gone_blocking(pid, ticks, _POLL)
        if proof.search(_text(console)):
            return True, ended
        now = time.monotonic()
        if (written := os.fstat(console).st_size) != size:
            size, heard = written, now
        if ended or now > heard + timeout or now > began + _MOST * timeout:
            return False, ended


def _end(pid: int, ticks: int | None) -> None:
    if ticks is None:
        process.reap(pid)
    elif process.kill_exact(pid, ticks, signal.SIGKILL):
        process.wait_gone_blocking(pid, ticks, _END)


def _text(descriptor: int) -> str:
    return os.pread(descriptor, 1 << 20, 0).decode(errors="replace")


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _TAIL, max(0, size - _TAIL)).decode(errors="replace")
