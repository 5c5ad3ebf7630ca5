"""Tells what a file holds that is to be a root file system, from its first bytes (pure but one).

Offsets and magic numbers: ext4 from the kernel's ``Documentation/filesystems/ext4/super.rst``, the
others from each format's own description.
"""

from __future__ import annotations

import struct
from pathlib import Path

from msgspec import Struct

#: How much of a file ``read_head`` gives, in bytes: btrfs has its super block at 64 KiB.
_HEAD = 0x10050
_EXT_MAGIC = (0x438, b"\x53\xef")
#: Magic numbers of what is often taken for a root file system: offset, bytes, its name.
_OTHERS = (
    (0x10040, b"_BHRfS_M", "a btrfs file system"),
    (0, b"XFSB", "an XFS file system"),
    (0x200, b"EFI PART", "a disk with partitions (GPT)"),
    (0, b"QFI\xfb", "a qcow2 disk"),
    (0, b"KDMV", "a VMDK disk"),
    (0, b"hsqs", "a squashfs file system"),
    (0x400, b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
    (0x400, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (0x8001, b"CD001", "an ISO 9660 image"),
    (0x101, b"ustar", "a tar archive"),
    (0, b"\x1f\x8b", "a file compressed with gzip"),
    (0, b"\xfd7zXZ", "a file compressed with xz"),
    (0, b"\x28\xb5\x2f\xfd", "a file compressed with zstd"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x7fELF", "an ELF file"),
    # Last: many boot sectors that are no partition table end like this as well.
    (0x1FE, b"\x55\xaa", "a disk with partitions (MBR)"),
)
#: Features that a program must know to write to the file system: those of e2fsprogs 1.47.
_KNOWN_INCOMPATIBLE = 0x3E7DF
_KNOWN_READ_ONLY = 0x1F77B
#: Inodes that a new file system has used: ten of its own, lost+found, perhaps the orphan file.
_OWN_INODES = 12


class ExtFacts(Struct, frozen=True):
    """What the super block of an ext file system says. Sizes are bytes."""

    size: int
    free: int
    empty: bool
    unknown_features: int


def read_head(path: Path) -> bytes:
    """As much of a file as the functions here want to see. Raises ``OSError``."""
    with path.open("rb") as file:
        return file.read(_HEAD)


def what_is(head: bytes) -> str:
    """The name of what begins with ``head``; empty for an ext file system."""
    if _at(head, *_EXT_MAGIC):
        return ""
    found = (name for offset, magic, name in _OTHERS if _at(head, offset, magic))
    return next(found, "neither a file system nor a disk that banger knows")


def ext_facts(head: bytes) -> ExtFacts:
    """The facts of an ext file system; ``what_is`` must have said that it is one."""
    block = head[0x400:0x800]
    inodes, blocks, _, free, free_inodes, _, shift = struct.unpack_from("<7I", block, 0)
    incompatible, read_only = struct.unpack_from("<2I", block, 0x60)
    if incompatible & 0x80:  # 64bit
        blocks |= struct.unpack_from("<I", block, 0x150)[0] << 32
        free |= struct.unpack_from("<I", block, 0x158)[0] << 32
    unit = 1024 << min(shift, 6)
    return ExtFacts(
        size=blocks * unit,
        free=free * unit,
        empty=inodes - free_inodes <= _OWN_INODES,
        unknown_features=(incompatible & ~_KNOWN_INCOMPATIBLE) | (read_only & ~_KNOWN_READ_ONLY),
    )


def _at(head: bytes, offset: int, magic: bytes) -> bool:
    return head[offset : offset + len(magic)] == magic
