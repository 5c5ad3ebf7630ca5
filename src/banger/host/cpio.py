"""Writes cpio archives in the "newc" form that the Linux kernel unpacks as its initial root.

The same entries always give the same bytes: owner 0, time 0, inodes numbered in order.
Format: the kernel's ``Documentation/driver-api/early-userspace/buffer-format.rst``.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import PurePosixPath

from msgspec import Struct

#: The name that ends an archive.
_TRAILER = "TRAILER!!!"
#: Archives that follow each other in one file must start at a multiple of this many bytes.
ALIGNMENT = 4
#: The kernel refuses longer names (PATH_MAX, final zero included).
_PATH_MAX = 4096
#: How every member begins, and how long its header is.
_MAGIC = b"070701"
_HEADER_LENGTH = 110


class Entry(Struct, frozen=True):
    """One member. ``mode`` holds type and permissions, ``device`` major and minor of a node."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(path: str, mode: int = 0o755) -> Entry:
    """A folder; the kernel wants it before what is in it."""
    return Entry(path, stat.S_IFDIR | mode)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(path, stat.S_IFREG | mode, data)


def link(path: str, target: str) -> Entry:
    """A symbolic link to ``target``."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    """A character device node."""
    return Entry(path, stat.S_IFCHR | mode, device=(major, minor))


def with_folders(entries: Iterable[Entry]) -> list[Entry]:
    """The entries with every missing parent folder put before its first member."""
    complete: list[Entry] = []
    seen: set[str] = set()
    for entry in entries:
        for parent in reversed(PurePosixPath(entry.path).parents[:-1]):
            if str(parent) not in seen:
                seen.add(str(parent))
                complete.append(folder(str(parent)))
        if not (stat.S_ISDIR(entry.mode) and entry.path in seen):
            complete.append(entry)
        seen.add(entry.path)
    return complete


def archive(entries: Iterable[Entry]) -> bytes:
    """Render the entries, in order, as one archive padded to a multiple of four bytes.

    Raises ``ValueError`` for a path that is absolute, empty, climbs, or cannot be a file name.
    """
    out = bytearray()
    for inode, entry in enumerate(entries, start=1):
        out += _member(inode, _checked(entry.path), entry)
    out += _member(0, _TRAILER, Entry(_TRAILER, 0))
    return bytes(out)


def pad(data: bytes) -> bytes:
    """``data`` with zeros up to where the next archive may start."""
    return data + bytes(-len(data) % ALIGNMENT)


def first_names(head: bytes, count: int) -> list[str]:
    """The paths of the first members, at most ``count``, of an archive that begins with ``head``.

    Stops without an error at whatever is no member of a "newc" archive.
    """
    names: list[str] = []
    offset = 0
    while len(names) < count and head[offset : offset + len(_MAGIC)] == _MAGIC:
        fields = head[offset + len(_MAGIC) : offset + _HEADER_LENGTH]
        try:
            size, length = int(fields[48:56], 16), int(fields[88:96], 16)
        except ValueError:
            break
        end = offset + _HEADER_LENGTH + length
        name = head[offset + _HEADER_LENGTH : end]
        if not name.endswith(b"\0"):
            break
        names.append(name[:-1].decode(errors="replace"))
        offset = _aligned(_aligned(end) + size)
    return names


def _aligned(offset: int) -> int:
    return offset + -offset % ALIGNMENT


def _checked(path: str) -> str:
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts) or path == _TRAILER:
        raise ValueError(f"{path!r} cannot be a path in an archive")
    if len(path.encode()) >= _PATH_MAX:
        raise ValueError("a path in an archive must be shorter than 4096 bytes")
    return path


def _member(inode: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        *(inode, entry.mode, 0, 0, links, 0, len(entry.data)),
        *(0, 0, *entry.device, len(name), 0),
    )
    header = _MAGIC + b"".join(b"%08X" % field for field in fields)
    # The data starts aligned as counted from the header, whose 110 bytes are not.
    return pad(header + name) + pad(entry.data)
