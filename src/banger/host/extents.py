"""How much of a file is its own and not shared with a clone."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from banger.host.files import allocated_bytes

#: linux/fiemap.h: the request _IOWR('f', 11, struct fiemap), its head, one extent, flags.
_FIEMAP = 0xC020660B
_HEAD = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQ2QL3L")
_LAST = 0x1
_SHARED = 0x2000
_BATCH = 512


def unshared_bytes(path: Path) -> int:
    """Bytes on disk that no other file uses too; all that it has where that is not known."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        extents = _extents(descriptor)
        return sum(length for _, length, flags in extents if not flags & _SHARED)
    except OSError:
        return allocated_bytes(path)
    finally:
        os.close(descriptor)


def _extents(descriptor: int) -> Iterator[tuple[int, int, int]]:
    """``(offset, length, flags)`` of each extent of an open file."""
    start = 0
    while True:
        buffer = bytearray(_HEAD.size + _BATCH * _EXTENT.size)
        _HEAD.pack_into(buffer, 0, start, 2**64 - 1 - start, 0, 0, _BATCH, 0)
        fcntl.ioctl(descriptor, _FIEMAP, buffer)
        count = _HEAD.unpack_from(buffer)[3]
        if count == 0:
            return
        flags = 0
        for index in range(count):
            fields = _EXTENT.unpack_from(buffer, _HEAD.size + index * _EXTENT.size)
            offset, length, flags = fields[0], fields[2], fields[5]
            yield offset, length, flags
            start = offset + length
        if flags & _LAST:
            return
