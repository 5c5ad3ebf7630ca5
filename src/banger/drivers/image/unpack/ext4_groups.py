"""The block groups of an empty ext4 file system: gives out inodes and blocks, keeps the counts.

The file system is mke2fs's own, made for us a moment ago, without metadata checksums and with
those of group descriptors. Field offsets and the checksum are those of the kernel's
``Documentation/filesystems/ext4`` (super block, block group descriptors).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from banger.drivers.image.unpack.limits import Refused

BLOCK = 4096
INODE = 256
_SUPER = 1024
_MAGIC = 0xEF53
_DESCRIPTOR = 64
_INODE_UNINIT, _BLOCK_UNINIT = 1, 2
#: The longest run of blocks that one extent names.
_MAX_RUN = 32768


@dataclass(slots=True)
class _Group:
    descriptor: bytearray
    blocks: bytearray | None = None
    inodes: bytearray | None = None
    folders: int = 0


class Groups:
    """Inodes from the first free one on, and blocks from front to back."""

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor
        block = os.pread(descriptor, 1024, _SUPER)
        if len(block) < 1024 or struct.unpack_from("<H", block, 56)[0] != _MAGIC:
            raise Refused("the new file system has no super block")
        self._super = bytearray(block)
        self._count = _u32(block, 4) | _u32(block, 0x150) << 32
        self._per_group = _u32(block, 32)
        self._inodes_per_group = _u32(block, 40)
        self._total_inodes = _u32(block, 0)
        self._uuid = block[104:120]
        groups = -(-self._count // self._per_group)
        table = os.pread(descriptor, groups * _DESCRIPTOR, BLOCK)
        self._groups = [
            _Group(bytearray(table[at : at + _DESCRIPTOR]))
            for at in range(0, len(table), _DESCRIPTOR)
        ]
        reserved = struct.unpack_from("<H", block, 0xCE)[0]
        self._own = self._metadata(1 + -(-groups * _DESCRIPTOR // BLOCK) + reserved)
        self._next_block = 0
        self._next_inode = 12  # 11 is lost+found
        self._used_blocks = 0
        self.inode_table: dict[int, bytes] = {}

    def inode(self, *, folder: bool) -> int:
        """The number of a new inode. Raises ``Refused`` when there are no more."""
        number = self._next_inode
        if number > self._total_inodes:
            raise Refused(f"the file system has room for {self._total_inodes} files only")
        self._next_inode += 1
        self._groups[(number - 1) // self._inodes_per_group].folders += folder
        return number

    def run(self, wanted: int) -> tuple[int, int]:
        """Free blocks in one piece, at most so many: (first, count). Raises ``Refused``."""
        while self._next_block < self._count:
            group, bit = divmod(self._next_block, self._per_group)
            bitmap = self._bitmap(group)
            while bit < self._per_group and bitmap[bit >> 3] == 0xFF:
                bit = (bit | 7) + 1
            while bit < self._per_group and bitmap[bit >> 3] >> (bit & 7) & 1:
                bit += 1
            end = bit
            last = min(bit + min(wanted, _MAX_RUN), self._per_group)
            while end < last and not bitmap[end >> 3] >> (end & 7) & 1:
                bitmap[end >> 3] |= 1 << (end & 7)
                end += 1
            self._next_block = group * self._per_group + end
            if end > bit:
                self._used_blocks += end - bit
                return group * self._per_group + bit, end - bit
        raise Refused(f"it does not fit into a file system of {self._count * BLOCK >> 20} MiB")

    def put_inode(self, number: int, content: bytes) -> None:
        """Set an inode, which ``finish`` writes."""
        self.inode_table[number] = content

    def root_block(self) -> int:
        """The one block of the root folder that mke2fs has made."""
        inode = os.pread(self._file, INODE, self._inode_offset(2))
        magic, count, _, depth = struct.unpack_from("<HHHH", inode, 40)
        _, length, high, low = struct.unpack_from("<IHHI", inode, 52)
        if (magic, count, depth, length) != (0xF30A, 1, 0, 1):
            raise Refused("the new file system has no root folder of one block")
        return int(low | high << 32)

    def finish(self) -> None:
        """Write inodes, bitmaps, descriptors and the super block."""
        self._write_inodes()
        for number, group in enumerate(self._groups):
            self._finish_group(number, group)
        for at, value in ((0x0C, -self._used_blocks), (0x10, 12 - self._next_inode)):
            self._add_super(at, value)
        table = b"".join(bytes(group.descriptor) for group in self._groups)
        os.pwrite(self._file, table, BLOCK)
        os.pwrite(self._file, self._super, _SUPER)

    def _add_super(self, at: int, change: int) -> None:
        high = 0x158 if at == 0x0C else 0
        value = _u32(self._super, at) | (_u32(self._super, high) << 32 if high else 0)
        value += change
        struct.pack_into("<I", self._super, at, value & 0xFFFFFFFF)
        if high:
            struct.pack_into("<I", self._super, high, value >> 32)

    def _write_inodes(self) -> None:
        run: list[bytes] = []
        start = 0
        for number in sorted(self.inode_table):
            if run and (number != start + len(run) or (number - 1) % self._inodes_per_group == 0):
                os.pwrite(self._file, b"".join(run), self._inode_offset(start))
                run = []
            start = number if not run else start
            run.append(self.inode_table[number])
        if run:
            os.pwrite(self._file, b"".join(run), self._inode_offset(start))

    def _finish_group(self, number: int, group: _Group) -> None:
        first = number * self._inodes_per_group + 1
        used = min(max(self._next_inode - first, 0), self._inodes_per_group)
        before = max(0, 12 - first)  # those that mke2fs has used
        flags = struct.unpack_from("<H", group.descriptor, 18)[0]
        if used > before:
            bitmap = bytearray(BLOCK)
            _set_bits(bitmap, 0, used)
            _set_bits(bitmap, self._inodes_per_group, BLOCK * 8)
            os.pwrite(self._file, bitmap, self._location(group, 4, 36) * BLOCK)
            flags &= ~_INODE_UNINIT
            _add(group.descriptor, 14, 46, before - used)
            _add(group.descriptor, 16, 48, group.folders)
            _put(group.descriptor, 28, 50, self._inodes_per_group - used)
        if group.blocks is not None:
            os.pwrite(self._file, group.blocks, self._location(group, 0, 32) * BLOCK)
            flags &= ~_BLOCK_UNINIT
            blocks = min(self._per_group, self._count - number * self._per_group)
            taken = sum(byte.bit_count() for byte in group.blocks) - (BLOCK * 8 - blocks)
            _put(group.descriptor, 12, 44, blocks - taken)
        struct.pack_into("<H", group.descriptor, 18, flags)
        struct.pack_into("<H", group.descriptor, 30, 0)
        text = self._uuid + number.to_bytes(4, "little") + group.descriptor[:30]
        struct.pack_into("<H", group.descriptor, 30, crc16(text + group.descriptor[32:]))

    def _bitmap(self, number: int) -> bytearray:
        group = self._groups[number]
        if group.blocks is None:
            flags = struct.unpack_from("<H", group.descriptor, 18)[0]
            if flags & _BLOCK_UNINIT:
                group.blocks = bytearray(BLOCK)
                for block in self._own.get(number, ()):
                    group.blocks[block >> 3] |= 1 << (block & 7)
                _set_bits(group.blocks, self._count - number * self._per_group, BLOCK * 8)
            else:
                where = self._location(group, 0, 32) * BLOCK
                group.blocks = bytearray(os.pread(self._file, BLOCK, where))
        return group.blocks

    def _metadata(self, head: int) -> dict[int, list[int]]:
        """Group -> its blocks that hold metadata. ``head`` blocks lead a group with a backup."""
        found: dict[int, list[int]] = {}
        for number in range(len(self._groups)):
            if _has_backup(number):
                found.setdefault(number, []).extend(range(head))
        table = -(-self._inodes_per_group * INODE // BLOCK)
        for group in self._groups:
            for low, high, count in ((0, 32, 1), (4, 36, 1), (8, 40, table)):
                start = self._location(group, low, high)
                for block in range(start, start + count):
                    where, bit = divmod(block, self._per_group)
                    found.setdefault(where, []).append(bit)
        return found

    def _location(self, group: _Group, low: int, high: int) -> int:
        return _u32(group.descriptor, low) | _u32(group.descriptor, high) << 32

    def _inode_offset(self, number: int) -> int:
        group, index = divmod(number - 1, self._inodes_per_group)
        return self._location(self._groups[group], 8, 40) * BLOCK + index * INODE


def crc16(data: bytes | bytearray) -> int:
    """The CRC of group descriptors: polynomial 0x8005, reflected, from 0xFFFF."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def _has_backup(group: int) -> bool:
    """sparse_super: groups 0, 1 and the powers of 3, 5 and 7 repeat the super block."""
    if group <= 1:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


def _set_bits(bitmap: bytearray, start: int, end: int) -> None:
    while start < end and start & 7:
        bitmap[start >> 3] |= 1 << (start & 7)
        start += 1
    whole = max(0, (end - start) >> 3)
    bitmap[start >> 3 : (start >> 3) + whole] = b"\xff" * whole
    for bit in range(start + whole * 8, end):
        bitmap[bit >> 3] |= 1 << (bit & 7)


def _u32(data: bytes | bytearray, offset: int) -> int:
    value: int = struct.unpack_from("<I", data, offset)[0]
    return value


def _put(descriptor: bytearray, low: int, high: int, value: int) -> None:
    struct.pack_into("<H", descriptor, low, value & 0xFFFF)
    struct.pack_into("<H", descriptor, high, value >> 16)


def _add(descriptor: bytearray, low: int, high: int, change: int) -> None:
    value = struct.unpack_from("<H", descriptor, low)[0]
    value |= struct.unpack_from("<H", descriptor, high)[0] << 16
    _put(descriptor, low, high, value + change)
