"""The layer of a device-mapper snapshot as a file: made empty, checked, and measured.

The format is that of drivers/md/dm-snap-persistent.c: a head of one chunk, then areas, each a
chunk of entries and behind it the chunks that they tell of. The kernel fills it from front to
back and never gives anything back, so where the entries end is where the free room begins. That
can be read from the file at any time, without root: the kernel writes through the same pages.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from banger.privileged.snapshot import CHUNK_SECTORS, MAGIC, VERSION

#: Bytes of a chunk.
CHUNK = CHUNK_SECTORS * 512
_HEAD = struct.Struct("<4s3L")
#: Number of the chunk below, and of the one in the layer (0: no entry).
_ENTRY = struct.Struct("<QQ")
_ENTRIES = CHUNK // _ENTRY.size


def make_empty(path: Path, size_bytes: int) -> None:
    """Make the file, sparse, with a head: one without would be taken for a new layer by the
    kernel, also if it were a damaged old one.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.truncate(descriptor, size_bytes)
        os.pwrite(descriptor, _HEAD.pack(MAGIC, 1, VERSION, CHUNK_SECTORS), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def defect(path: Path) -> str:
    """What keeps the layer from being used; empty if nothing does. Raises ``OSError``."""
    with path.open("rb", buffering=0) as file:
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size or head[:4] != MAGIC:
        return f"{path} is no layer of a VM any more: its head is damaged"
    _, valid, version, chunk = _HEAD.unpack(head)
    if not valid:
        return f"{path} had no room for a write, and the kernel gave it up"
    if (version, chunk) != (VERSION, CHUNK_SECTORS):
        return (
            f"{path} has version {version} and chunks of {chunk} sectors, which banger never made"
        )
    return ""


def used_bytes(path: Path) -> int:
    """Bytes that the kernel has used; 0 if there is no such file. Raises ``OSError``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        low, high = 0, os.fstat(descriptor).st_size // (CHUNK * (_ENTRIES + 1)) + 1
        while low < high:  # how many areas are full
            middle = (low + high) // 2
            if _count(descriptor, middle) == _ENTRIES:
                low = middle + 1
            else:
                high = middle
        entries = low * _ENTRIES + _count(descriptor, low)
        return (1 + low + 1 + entries) * CHUNK
    finally:
        os.close(descriptor)


def write_over(path: Path, target: Path) -> None:
    """Put every chunk that the layer holds where it belongs in ``target``, a copy of the base.

    Raises ``OSError``, also for a layer whose entries lead outside.
    """
    layer = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        drive = os.open(target, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(drive).st_size
            for below, here in _exceptions(layer):
                data = os.pread(layer, CHUNK, here * CHUNK)
                position = below * CHUNK
                if len(data) < CHUNK or position >= size:
                    raise OSError(errno.EIO, f"the entry {below} -> {here} leads nowhere", path)
                # The last chunk of a drive may be less than a whole one.
                os.pwrite(drive, data[: size - position], position)
            os.fsync(drive)
        finally:
            os.close(drive)
    finally:
        os.close(layer)


def _exceptions(descriptor: int) -> Iterator[tuple[int, int]]:
    """All entries: the number of a chunk below, and of the one in the layer."""
    area = 0
    while True:
        entries = _entries(descriptor, area)
        for below, here in entries:
            if not here:
                return
            yield below, here
        if len(entries) < _ENTRIES:
            return
        area += 1


def _count(descriptor: int, area: int) -> int:
    """How many entries an area has."""
    return sum(1 for _, used in _entries(descriptor, area) if used)


def _entries(descriptor: int, area: int) -> list[tuple[int, int]]:
    """An area as it is, with the entries that are not used yet."""
    data = os.pread(descriptor, CHUNK, (1 + area * (_ENTRIES + 1)) * CHUNK)
    return list(_ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]))
