"""Tells processes apart for sure: by pid, start time, executable and arguments."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

from banger.privileged import kernel_files

_PROC = Path("/proc")
#: Bytes read at once of a command line: more than nearly every one has.
_LINE = 16 * 1024


def boot_id() -> str:
    """The id of this boot of the host; another value means that every process is gone."""
    return kernel_files.value(f"{_PROC}/sys/kernel/random/boot_id")


def parse_start_ticks(stat: str, *, even_dead: bool = False) -> int | None:
    """Field 22 of ``/proc/PID/stat`` (proc(5)), in clock ticks since boot.

    None for a zombie, unless ``even_dead``.
    """
    # The name in field 2 is free text and may hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 20 or not fields[19].isdigit() or (fields[0] in "ZX" and not even_dead):
        return None
    return int(fields[19])


def start_ticks(pid: int, *, even_dead: bool = False) -> int | None:
    """When the process began, in clock ticks since boot; None if it is gone.

    None for a zombie too, unless ``even_dead``.
    """
    try:
        text = kernel_files.value(f"{_PROC}/{pid}/stat")
    except OSError:
        return None
    return parse_start_ticks(text, even_dead=even_dead)


def executable_of(pid: int) -> str:
    """The path of the program that the process runs; empty if gone or hidden from us."""
    try:
        return os.readlink(f"{_PROC}/{pid}/exe").removesuffix(" (deleted)")  # noqa: PTH115 - it is quick
    except OSError:
        return ""


def argv_of(pid: int) -> list[str]:
    """The arguments of the process; empty if it is gone."""
    raw = _command_line(pid)
    return [part.decode(errors="replace") for part in raw.split(b"\0")[:-1]]


def carries_mark(argv: list[str], mark: str) -> bool:
    """Whether an argument is ``mark``, or holds it as a whole word (``-name MARK,debug=on``)."""
    word = re.compile(rf"(?<![0-9A-Za-z-]){re.escape(mark)}(?![0-9A-Za-z-])")
    return any(word.search(argument) for argument in argv)


def find_by_argument(mark: str, uids: Collection[int] | None = None) -> list[int]:
    """Live processes that carry ``mark`` in an argument, of these real uids or of anybody."""
    wanted = os.fsencode(mark)
    found = []
    for pid in _pids():
        if wanted not in _command_line(pid) or pid == os.getpid():
            continue
        if not carries_mark(argv_of(pid), mark) or start_ticks(pid) is None:
            continue
        if uids is None or real_uid(pid) in uids:
            found.append(pid)
    return found


def _command_line(pid: int) -> bytes:
    """The raw arguments; empty if it is gone. By plain calls: there are many processes."""
    try:
        descriptor = os.open(f"{_PROC}/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        raw = os.read(descriptor, _LINE)
        while len(raw) >= _LINE and (more := os.read(descriptor, len(raw))):
            raw += more
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return raw


def open_pidfd(pid: int) -> int:
    """A descriptor that means this very process for ever; becomes readable at its end.

    Raises ``ProcessLookupError`` if there is none. The caller closes it.
    """
    return os.pidfd_open(pid)


def kill_exact(pid: int, start_ticks: int, signal_number: int) -> bool:
    """Signal the process if it is still the one that began at ``start_ticks``.

    Returns whether a signal was sent. Raises ``PermissionError`` for another user's process.
    """
    with _held(pid, start_ticks) as pidfd:
        if pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(pidfd, signal_number)
        except ProcessLookupError:
            return False
        return True


async def wait_gone(pid: int, start_ticks: int) -> None:
    """Return when the process that began at ``start_ticks`` is gone; reap it if it is ours."""
    import asyncio  # the CLI uses this module and must not pay for it

    loop = asyncio.get_running_loop()
    with _held(pid, start_ticks) as pidfd:
        if pidfd is None:
            reap(pid)
            return
        ended = asyncio.Event()
        loop.add_reader(pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(pidfd)
    reap(pid)


def wait_gone_blocking(pid: int, start_ticks: int, timeout: float) -> bool:
    """As ``wait_gone`` for at most ``timeout`` seconds; whether the process is gone."""
    with _held(pid, start_ticks) as pidfd:
        if pidfd is not None and not select.select([pidfd], [], [], timeout)[0]:
            return False
    reap(pid)
    return True


def reap(pid: int) -> None:
    """Clear away a dead child of ours; nothing happens for any other process."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


@contextlib.contextmanager
def _held(pid: int, expected_ticks: int) -> Iterator[int | None]:
    try:
        pidfd = open_pidfd(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # Checked after opening: from here on the number cannot come to mean another process.
        # A process whose first thread has ended looks like a zombie, but its other threads
        # may still hold files and sockets: only the pidfd tells when all are gone.
        yield pidfd if start_ticks(pid, even_dead=True) == expected_ticks else None
    finally:
        os.close(pidfd)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208 - it is quick


def real_uid(pid: int) -> int | None:
    """Whose process it is; None if it is gone."""
    try:
        status = (_PROC / str(pid) / "status").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else None
