"""Reads an ext2, ext3 or ext4 file system of anybody's from an open file: blocks and inodes.

Everything in this folder may run in a process of its own with as few rights as can be (see
``inside``), so it imports nothing but the standard library and its own modules. Field offsets are
those of the kernel's ``Documentation/filesystems/ext4``.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

ROOT_INODE = 2
_SUPER_BLOCK = 1024
_MAGIC = 0xEF53
_EXTENT_MAGIC = 0xF30A
#: s_feature_incompat: what a reader must know, and what of it is known here.
_RECOVER, _JOURNAL_DEVICE, _64BIT = 0x4, 0x8, 0x80
_REFUSED = {
    0x1: "compression",
    _JOURNAL_DEVICE: "a journal alone",
    0x10: "meta block groups",
    0x400: "attributes in inodes",
    0x1000: "data in folders",
    0x8000: "data in inodes",
    0x10000: "encryption",
}
_KNOWN = 0x2 | _RECOVER | 0x40 | _64BIT | 0x100 | 0x200 | 0x2000 | 0x4000 | 0x20000
#: i_flags: the content is mapped by extents; the inode is encrypted.
_EXTENTS, _ENCRYPTED = 0x80000, 0x800
_MAX_DEPTH = 5
#: A link shorter than this stands in the inode itself.
_FAST_LINK = 60


class Damaged(Exception):
    """The file system cannot be read; the text says why, as the cause of an error."""


class Run(NamedTuple):
    """``length`` blocks of a file from ``logical`` on lie on the disk from ``physical`` on."""

    logical: int
    physical: int
    length: int


class Inode(NamedTuple):
    """What an inode says of a file, but for its content and attributes. Times are nanoseconds."""

    number: int
    mode: int
    uid: int
    gid: int
    size: int
    links: int
    flags: int
    mtime: int
    device: tuple[int, int]
    blocks: bytes
    attribute_block: int
    tail: bytes


class Volume:
    """An ext file system in the open file ``descriptor``. All methods raise ``Damaged``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        block = self._at(_SUPER_BLOCK, 1024)
        if struct.unpack_from("<H", block, 56)[0] != _MAGIC:
            raise Damaged("it is no ext file system")
        incompatible = _u32(block, 96)
        for bit, name in _REFUSED.items():
            if incompatible & bit:
                raise Damaged(f"it uses a feature that cannot be read here: {name}")
        if incompatible & ~_KNOWN:
            raise Damaged(f"it uses unknown features ({incompatible & ~_KNOWN:#x})")
        large = bool(incompatible & _64BIT)
        self.needs_recovery = bool(incompatible & _RECOVER)
        log_size = _u32(block, 24)
        if log_size > 6:
            raise Damaged("its blocks are larger than 64 KiB")
        self.block_size = 1024 << log_size
        high, high_free = (_u32(block, 0x150), _u32(block, 0x158)) if large else (0, 0)
        self.blocks = _u32(block, 4) | high << 32
        self.used_bytes = (
            max(0, self.blocks - (_u32(block, 12) | high_free << 32)) * self.block_size
        )
        self._first = _u32(block, 20)
        self._inodes, self._per_group = _u32(block, 0), _u32(block, 40)
        old = _u32(block, 76) == 0
        self._inode_size = 128 if old else struct.unpack_from("<H", block, 88)[0]
        self._descriptor_size = struct.unpack_from("<H", block, 254)[0] if large else 32
        if not self._per_group or not 128 <= self._inode_size <= self.block_size:
            raise Damaged("its super block makes no sense")
        if large and not 64 <= self._descriptor_size <= 1024:
            raise Damaged("its group descriptors make no sense")

    def inode(self, number: int) -> Inode:
        """An inode by its number."""
        if not 1 <= number <= self._inodes:
            raise Damaged(f"it has no inode {number}")
        group, index = divmod(number - 1, self._per_group)
        table = (self._first + 1) * self.block_size + group * self._descriptor_size
        descriptor = self._at(table, self._descriptor_size)
        start = _u32(descriptor, 8)
        if self._descriptor_size >= 64:
            start |= _u32(descriptor, 40) << 32
        self._check(start, 1)
        raw = self._at(start * self.block_size + index * self._inode_size, self._inode_size)
        return self._parse(number, raw)

    def runs(self, inode: Inode) -> Iterator[Run]:
        """Where the content of a file or folder lies; what no run covers is zeros."""
        if inode.flags & _ENCRYPTED:
            raise Damaged(f"inode {inode.number} is encrypted")
        if inode.flags & _EXTENTS:
            yield from self._extents(inode.blocks, _MAX_DEPTH)
            return
        numbers = struct.unpack("<15I", inode.blocks)
        yield from (Run(at, block, 1) for at, block in enumerate(numbers[:12]) if block)
        at, span = 12, 1
        for level, block in enumerate(numbers[12:], start=1):
            span *= self.block_size // 4
            yield from self._indirect(block, level, at)
            at += span

    def link(self, inode: Inode) -> bytes:
        """Where a symbolic link leads."""
        if not 0 < inode.size < 4096:
            raise Damaged(f"inode {inode.number} is a link of {inode.size} bytes")
        if inode.size < _FAST_LINK and not inode.flags & _EXTENTS:
            return inode.blocks[: inode.size]
        return b"".join(self.content(inode))[: inode.size]

    def content(self, inode: Inode) -> Iterator[bytes]:
        """The blocks of a folder or link in order; such ones have no holes."""
        for run in self.runs(inode):
            self._check(run.physical, run.length)
            for block in range(run.physical, run.physical + run.length):
                yield self._at(block * self.block_size, self.block_size)

    def block(self, number: int) -> bytes:
        """One block."""
        self._check(number, 1)
        return self._at(number * self.block_size, self.block_size)

    def entries(self, folder: Inode) -> Iterator[tuple[bytes, int]]:
        """Name and inode of everything in a folder, but for itself and the one above it."""
        for block in self.content(folder):
            position = 0
            while position < len(block):
                number, length, size = struct.unpack_from("<IHB", block, position)
                # The longest of a 64 KiB block does not fit into its own field.
                length = length if length not in {0, 0xFFFF} else len(block)
                if length < 8 or position + length > len(block) or size > length - 8:
                    raise Damaged(f"the folder with inode {folder.number} is damaged")
                name = block[position + 8 : position + 8 + size]
                position += length
                if number == 0 or name in (b".", b".."):
                    continue
                if not name or b"/" in name or b"\0" in name:
                    raise Damaged(f"the folder with inode {folder.number} has an impossible name")
                yield name, number

    def _parse(self, number: int, raw: bytes) -> Inode:
        mode, low_uid, low_size = struct.unpack_from("<HHI", raw, 0)
        mtime = struct.unpack_from("<i", raw, 16)[0]
        low_gid, links = struct.unpack_from("<HH", raw, 24)
        flags, blocks = _u32(raw, 32), raw[40:100]
        acl, high_size = _u32(raw, 104), _u32(raw, 108)
        high_acl, high_uid, high_gid = struct.unpack_from("<HHH", raw, 118)
        size = low_size | (high_size << 32 if stat.S_ISREG(mode) else 0)
        extra = struct.unpack_from("<H", raw, 128)[0] if len(raw) > 132 else 0
        if extra > len(raw) - 128:
            raise Damaged(f"inode {number} is damaged")
        nanoseconds = 0
        if extra >= 12:  # the field i_mtime_extra is there
            more = _u32(raw, 136)
            mtime, nanoseconds = mtime + ((more & 3) << 32), min(more >> 2, 999_999_999)
        return Inode(
            number=number,
            mode=mode,
            uid=low_uid | high_uid << 16,
            gid=low_gid | high_gid << 16,
            size=size,
            links=links,
            flags=flags,
            mtime=mtime * 10**9 + nanoseconds,
            device=_device(blocks),
            blocks=blocks,
            attribute_block=acl | high_acl << 32,
            tail=raw[128 + extra :] if extra else b"",
        )

    def _extents(self, node: bytes, depth_left: int) -> Iterator[Run]:
        magic, count, _, depth = struct.unpack_from("<HHHH", node)
        if magic != _EXTENT_MAGIC or 12 * (count + 1) > len(node) or depth > depth_left:
            raise Damaged("the map of a file is damaged")
        for start in range(12, 12 * (count + 1), 12):
            if depth:
                low, high = struct.unpack_from("<IH", node, start + 4)
                yield from self._extents(self.block(low | high << 32), depth - 1)
                continue
            logical, length, high, low = struct.unpack_from("<IHHI", node, start)
            if length > 0x8000:
                continue  # allocated and never written: zeros
            yield Run(logical, low | high << 32, length)

    def _indirect(self, block: int, level: int, at: int) -> Iterator[Run]:
        if block == 0:
            return
        span = (self.block_size // 4) ** (level - 1)
        numbers = struct.unpack(f"<{self.block_size // 4}I", self.block(block))
        for index, number in enumerate(numbers):
            if not number:
                continue
            if level == 1:
                yield Run(at + index, number, 1)
            else:
                yield from self._indirect(number, level - 1, at + index * span)

    def _check(self, block: int, count: int) -> None:
        if block <= 0 or block + count > self.blocks:
            raise Damaged(f"it refers to block {block}, which it does not have")

    def data(self, block: int, count: int) -> Iterator[bytes]:
        """The bytes of blocks in a row, in pieces of at most a MiB."""
        self._check(block, count)
        position, end = block * self.block_size, (block + count) * self.block_size
        while position < end:
            piece = self._at(position, min(1 << 20, end - position))
            yield piece
            position += len(piece)

    def _at(self, offset: int, count: int) -> bytes:
        data = os.pread(self._descriptor, count, offset)
        if len(data) < count:
            raise Damaged("it is cut short")
        return data


def _device(blocks: bytes) -> tuple[int, int]:
    """Major and minor number of a device: the old form in the first word, the new in the second."""
    old, new = struct.unpack_from("<II", blocks)
    if old:
        return old >> 8 & 0xFF, old & 0xFF
    return new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00


def _u32(data: bytes, offset: int) -> int:
    value: int = struct.unpack_from("<I", data, offset)[0]
    return value
