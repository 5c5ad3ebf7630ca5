"""Writes the files of an image as one tar archive, holes left out; the same image, the same bytes.

The form is GNU tar's for sparse files in pax headers, version 1.0 (its manual, "Storing Sparse
Files"), so that tar unpacks it as well. ``drivers/image/unpack/own`` reads it.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from banger.errors import Conflict
from banger.host.files import data_extents

RECORD, ROOTFS, KERNEL, INITRD = "banger-image.json", "rootfs.ext4", "vmlinux", "initrd.cpio"
FORMAT = 1
#: Fields of ``image.json`` that go along.
_KEPT = ("suite", "kernel_version", "rootfs_sha256", "origin", "docker", "own_boot",
         "carries_agent")  # fmt: skip
_MAX_PIECES = 50_000
_CHUNK = 1024 * 1024
_BLOCK = 512


def pack(folder: Path, target: BinaryIO, *, in_gzip: bool) -> int:
    """Write the archive; returns how many bytes it has before compression.

    Raises ``Conflict`` for an image that no archive holds, and ``OSError``.
    """
    if (folder / "modules").is_dir():
        raise Conflict(
            "the image cannot be exported",
            cause="it has kernel modules of your own, which an archive does not hold",
            resolution="banger image register NAME --rootfs FILE --kernel FILE --modules DIR,"
            " where it is wanted",
        )
    meta = json.loads((folder / "image.json").read_bytes())["meta"]
    boot = [name for name in (KERNEL, INITRD) if (folder / name).exists()]
    record = {
        "format": FORMAT,
        **{key: meta[key] for key in _KEPT if key in meta},
        "sha256": {name: _sha256(folder / name) for name in boot},
    }
    text = json.dumps(record, indent=2).encode() + b"\n"
    if not in_gzip:
        return _write(folder, text, boot, target)
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6, mtime=0, filename="") as stream:
        return _write(folder, text, boot, cast("BinaryIO", stream))


def _write(folder: Path, record: bytes, boot: list[str], target: BinaryIO) -> int:
    counted = _Counted(target)
    with tarfile.open(
        fileobj=cast("IO[bytes]", counted), mode="w|", format=tarfile.PAX_FORMAT
    ) as archive:
        archive.addfile(_entry(RECORD, len(record)), io.BytesIO(record))
        for name in boot:
            with (folder / name).open("rb") as file:
                archive.addfile(_entry(name, os.fstat(file.fileno()).st_size), file)
        with (folder / ROOTFS).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            pieces = list(data_pieces(file.fileno(), size))
            lines = [len(pieces), *(number for piece in pieces for number in piece)]
            table = "".join(f"{number}\n" for number in lines).encode()
            table += bytes(-len(table) % _BLOCK)
            entry = _entry(f"GNUSparseFile.0/{ROOTFS}", len(table) + sum(n for _, n in pieces))
            entry.pax_headers = {
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": ROOTFS,
                "GNU.sparse.realsize": str(size),
            }
            archive.addfile(entry, cast("IO[bytes]", _Pieces(file.fileno(), table, pieces)))
    return counted.count


def data_pieces(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of what is no hole; small holes are taken along where there are many."""
    for gap in (0, 64 * 1024, _CHUNK, 16 * _CHUNK, size):
        found: list[tuple[int, int]] = []
        for start, hole in data_extents(descriptor, size):
            end = min(hole, size)
            if found and start - sum(found[-1]) <= gap:
                found[-1] = (found[-1][0], end - found[-1][0])
            else:
                found.append((start, end - start))
        if len(found) <= _MAX_PIECES:
            break
    yield from found


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o644, 0
    return entry


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Pieces:
    """Reads a table, then the pieces of a file, as one stream."""

    def __init__(self, descriptor: int, table: bytes, pieces: list[tuple[int, int]]) -> None:
        self._descriptor = descriptor
        self._table = table
        self._pieces = pieces[::-1]

    def read(self, count: int) -> bytes:
        """The next bytes, at most so many; tarfile asks until all are there."""
        parts, left = [self._table[:count]], count
        left -= len(parts[0])
        self._table = self._table[count:]
        while left and self._pieces:
            offset, length = self._pieces.pop()
            data = os.pread(self._descriptor, min(left, length), offset)
            if not data:
                raise OSError(errno.EIO, "the root file system ends too early")
            if len(data) < length:
                self._pieces.append((offset + len(data), length - len(data)))
            parts.append(data)
            left -= len(data)
        return b"".join(parts)


class _Counted:
    """Passes on what is written, and counts it."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.count = 0

    def write(self, data: bytes) -> Any:
        """Write all of it."""
        self.count += len(data)
        return self._target.write(data)
