"""Keeps the logs that a guest can make grow within bounds, and reads their ends."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

#: The most that one log of a VM may hold for long, in bytes; when it holds more, its older
#: half goes. Between two checks it can grow by as much as the guest manages to print.
LIMIT = 4 * 1024 * 1024
#: fallocate(2): take the range out of the file, so that what follows moves up.
_COLLAPSE_RANGE = 0x08
#: Escape sequences (CSI, OSC, two-character) and control characters of a guest's output.
_UNSAFE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def read_tail(path: Path, limit: int, start: int = 0) -> str:
    """The last ``limit`` bytes at most of what lies behind offset ``start``; "" if absent.

    An offset behind the end stands for the beginning: the file was cut since.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0 if start > size else start, size - limit))
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""


def plain(text: str) -> str:
    """``text`` without anything that could command a terminal; lines and tabs stay."""
    return _UNSAFE.sub("", text)


def size_of(path: Path) -> int:
    """The length of the log; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def bound(path: Path, limit: int = LIMIT, keep: int = LIMIT // 2) -> int:
    """Cut the oldest part off a log that holds more than ``limit`` bytes, leaving ``keep``.

    The writer may go on meanwhile: it appends (O_APPEND), so it follows the end. Returns the
    number of bytes removed; 0 also if the log is absent. Raises ``OSError``.
    """
    size = size_of(path)
    if size <= limit:
        return 0
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # The kernel removes whole file system blocks only.
        block = os.fstat(descriptor).st_blksize or 4096
        surplus = (size - keep) // block * block
        if surplus and _collapse(descriptor, surplus):
            return surplus
        return _rewrite(descriptor, keep)
    finally:
        os.close(descriptor)


def _collapse(descriptor: int, length: int) -> bool:
    """Remove the first ``length`` bytes in place: no byte is lost or seen twice."""
    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = libc.fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return bool(fallocate(descriptor, _COLLAPSE_RANGE, 0, length) == 0)


def _rewrite(descriptor: int, keep: int) -> int:
    """Where the file system cannot: empty the file and put its end back.

    What is written between the two steps comes out of order, what is written during the
    reading is lost; nothing better exists there.
    """
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, 2 * keep, size - keep)
    os.ftruncate(descriptor, 0)
    # Through a second, appending descriptor: ours has no O_APPEND for the collapse above.
    appender = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(appender, tail)
    finally:
        os.close(appender)
    return size - len(tail)
