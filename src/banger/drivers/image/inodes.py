"""Makes an ext4 image reproducible: fixes what mke2fs takes from the clock in every inode.

Field offsets are those of the kernel's ``Documentation/filesystems/ext4``. Images made by
``rootfs`` have no metadata checksums, so nothing has to be computed again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from banger.errors import CorruptState

_SUPERBLOCK = 1024
_MAGIC = 0xEF53
_64BIT = 0x80  # s_feature_incompat
_METADATA_CSUM = 0x400  # s_feature_ro_compat
_GDT_CSUM = 0x10  # s_feature_ro_compat, also called uninit_bg
_INODE_UNINIT = 0x1  # bg_flags
#: Bytes of an inode that a time stamp or a random number lands in.
_ATIME, _CTIME, _GENERATION, _EXTRA_SIZE = 8, 12, 100, 128
_CTIME_EXTRA, _CRTIME, _CRTIME_EXTRA = 132, 144, 148


class _Layout(Struct, frozen=True):
    block_size: int
    inode_size: int
    inodes_per_group: int
    groups: int
    descriptors: int
    descriptor_size: int
    has_unused_count: bool


def fix_inodes(image: Path, epoch: int) -> int:
    """Set atime, ctime and creation time of all used inodes to ``epoch`` and their generation to 0.

    Modification times stay, less their fractions of a second. Returns the number of inodes.
    Raises ``CorruptState`` if the file is no ext4 image of the kind ``rootfs`` makes.
    """
    count = 0
    with image.open("r+b") as file:
        layout = _read_layout(file, image)
        for offset, slots in _tables(file, layout):
            file.seek(offset)
            table = bytearray(file.read(slots * layout.inode_size))
            for start in range(0, len(table), layout.inode_size):
                if any(table[start : start + _EXTRA_SIZE]):
                    _fix(table, start, layout.inode_size, epoch)
                    count += 1
            file.seek(offset)
            file.write(table)
    return count


def _fix(table: bytearray, start: int, size: int, epoch: int) -> None:
    struct.pack_into("<II", table, start + _ATIME, epoch, epoch)
    struct.pack_into("<I", table, start + _GENERATION, 0)
    if size >= _CRTIME_EXTRA + 4:
        table[start + _CTIME_EXTRA : start + _CRTIME] = bytes(_CRTIME - _CTIME_EXTRA)
        struct.pack_into("<II", table, start + _CRTIME, epoch, 0)


def _read_layout(file: BinaryIO, image: Path) -> _Layout:
    file.seek(_SUPERBLOCK)
    block = file.read(1024)
    if len(block) < 1024 or struct.unpack_from("<H", block, 56)[0] != _MAGIC:
        raise _unexpected(image, "it has no ext4 superblock")
    blocks, first, log_size = _u32(block, 4), _u32(block, 20), _u32(block, 24)
    per_group, inodes_per_group = _u32(block, 32), _u32(block, 40)
    incompatible, compatible = _u32(block, 96), _u32(block, 100)
    if compatible & _METADATA_CSUM:
        raise _unexpected(image, "it has metadata checksums")
    block_size = 1024 << log_size
    return _Layout(
        block_size=block_size,
        inode_size=struct.unpack_from("<H", block, 88)[0],
        inodes_per_group=inodes_per_group,
        groups=-(-(blocks - first) // per_group),
        descriptors=(first + 1) * block_size,
        descriptor_size=struct.unpack_from("<H", block, 254)[0] if incompatible & _64BIT else 32,
        has_unused_count=bool(compatible & _GDT_CSUM),
    )


def _tables(file: BinaryIO, layout: _Layout) -> Iterator[tuple[int, int]]:
    """The byte offset and number of used slots of each group's inode table."""
    file.seek(layout.descriptors)
    table = file.read(layout.groups * layout.descriptor_size)
    for start in range(0, len(table), layout.descriptor_size):
        flags, unused = struct.unpack_from("<H", table, start + 18)[0], 0
        if layout.has_unused_count:
            unused = struct.unpack_from("<H", table, start + 28)[0]
        if flags & _INODE_UNINIT or unused >= layout.inodes_per_group:
            continue
        block = _u32(table, start + 8)
        if layout.descriptor_size > 32:
            block |= _u32(table, start + 40) << 32
        yield block * layout.block_size, layout.inodes_per_group - unused


def _u32(data: bytes, offset: int) -> int:
    value: int = struct.unpack_from("<I", data, offset)[0]
    return value


def _unexpected(image: Path, cause: str) -> CorruptState:
    return CorruptState(
        f"the image {image.name} is not as mke2fs should have made it",
        cause=cause,
        resolution="banger image build --rebuild",
    )
