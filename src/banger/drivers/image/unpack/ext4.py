"""Writes a file tree into an empty ext4 file system, without mounting it and without any right.

Inode, extent, folder and attribute formats are those of the kernel's
``Documentation/filesystems/ext4``. The same tree in the same empty file system always gives the
same bytes: inodes and blocks are given out in the order of the names.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence

from banger.drivers.image.unpack.ext4_groups import BLOCK, INODE, Groups
from banger.drivers.image.unpack.limits import Refused
from banger.drivers.image.unpack.tree import Node
from banger.drivers.image.unpack.window import CHUNK, Window

_ROOT = 2
_LOST_FOUND = 11
#: kind -> (type bits of the mode, file type of a folder's entry)
_KINDS = {
    "file": (0o100000, 1),
    "folder": (0o040000, 2),
    "char": (0o020000, 3),
    "block": (0o060000, 4),
    "fifo": (0o010000, 5),
    "symlink": (0o120000, 7),
}
_EXTENTS = 0x80000
_EXTENT_MAGIC = 0xF30A
#: A link whose target is shorter stands in the inode itself.
_INLINE = 60
_EXTRA = 32
_XATTR_MAGIC = 0xEA020000
_SECURITY = 6
#: dir_nlink: a folder with more folders counts as having one name.
_MAX_FOLDER_LINKS = 64_998
_ENTRIES_IN_ROOT, _ENTRIES_IN_BLOCK = 4, (BLOCK - 12) // 12

#: (logical block, physical block, count)
Extent = tuple[int, int, int]


class Ext4Writer:
    """Puts one tree into the open image ``descriptor``; ``sources`` are what files come from."""

    def __init__(
        self, descriptor: int, sources: Mapping[int, Window], step: Callable[[int], None]
    ) -> None:
        self._file = descriptor
        self._groups = Groups(descriptor)
        self._sources = sources
        self._step = step
        self._numbers: dict[Node, int] = {}
        self._written = 0

    def write(self, root: Node) -> int:
        """Write the tree and return how many inodes it took. Raises ``Refused``.

        It has no ``lost+found``: mke2fs has made one.
        """
        self._numbers[root] = _ROOT
        order = [(root, _ROOT)]
        for folder, parent in order:
            number = self._numbers[folder]
            for _, node in sorted(folder.children.items()):
                if node not in self._numbers:
                    self._numbers[node] = self._groups.inode(folder=node.kind == "folder")
                    if node.kind == "folder":
                        order.append((node, number))
                    else:
                        self._leaf(node)
            self._folder(folder, parent)
        self._groups.finish()
        return len(self._numbers)

    def _folder(self, node: Node, parent: int) -> None:
        number = self._numbers[node]
        entries = [(b".", number, 2), (b"..", parent, 2)]
        if number == _ROOT:
            entries.append((b"lost+found", _LOST_FOUND, 2))
        entries += [
            (name, self._numbers[child], _KINDS[child.kind][1])
            for name, child in sorted(node.children.items())
        ]
        content = folder_blocks(entries)
        used = [(0, self._groups.root_block(), 1)] if number == _ROOT else []
        extents = self._store(len(content) // BLOCK, used)
        for logical, physical, count in extents:
            piece = content[logical * BLOCK : (logical + count) * BLOCK]
            os.pwrite(self._file, piece, physical * BLOCK)
        links = 2 + sum(1 for child in node.children.values() if child.kind == "folder")
        links += number == _ROOT
        self._inode(node, extents, len(content), links if links <= _MAX_FOLDER_LINKS else 1)

    def _leaf(self, node: Node) -> None:
        if node.kind == "file":
            extents = self._content(node)
            self._inode(node, extents, node.size, node.links)
        elif node.kind == "symlink" and len(node.target) >= _INLINE:
            extents = self._store(1)
            os.pwrite(self._file, node.target.ljust(BLOCK, b"\0"), extents[0][1] * BLOCK)
            self._inode(node, extents, len(node.target), node.links)
        else:
            self._inode(node, None, node.size, node.links)

    def _content(self, node: Node) -> list[Extent]:
        """Blocks for all that is not a hole, filled."""
        wanted: list[list[int]] = []
        for piece in node.pieces:
            first, last = piece.offset // BLOCK, (piece.offset + piece.size - 1) // BLOCK
            if wanted and first <= wanted[-1][1] + 1:
                wanted[-1][1] = max(last, wanted[-1][1])
            else:
                wanted.append([first, last])
        extents: list[Extent] = []
        for first, last in wanted:
            while first <= last:
                physical, count = self._groups.run(last - first + 1)
                extents.append((first, physical, count))
                first += count
        for piece in node.pieces:
            self._copy(node, piece.offset, piece.position, piece.size, extents)
        return extents

    def _copy(
        self, node: Node, offset: int, position: int, size: int, extents: list[Extent]
    ) -> None:
        window = self._sources[node.source]
        for logical, physical, count in extents:
            start = max(offset, logical * BLOCK)
            end = min(offset + size, (logical + count) * BLOCK)
            while start < end:
                data = window.read(position + start - offset, min(CHUNK, end - start))
                os.pwrite(self._file, data, physical * BLOCK + start - logical * BLOCK)
                start += len(data)
                self._written += len(data)
                self._step(self._written)

    def _store(self, blocks: int, used: Sequence[Extent] = ()) -> list[Extent]:
        extents = list(used)
        logical = sum(count for _, _, count in used)
        while logical < blocks:
            physical, count = self._groups.run(blocks - logical)
            extents.append((logical, physical, count))
            logical += count
        return extents

    def _inode(self, node: Node, extents: list[Extent] | None, size: int, links: int) -> None:
        number = self._numbers[node]
        body, extra = self._map(extents) if extents is not None else (_in_place(node), 0)
        blocks = (sum(count for _, _, count in extents or ()) + extra) * (BLOCK // 512)
        kind = _KINDS[node.kind][0]
        seconds, epoch = node.mtime & 0xFFFFFFFF, _epoch(node.mtime)
        inode = bytearray(INODE)
        struct.pack_into(
            "<HHIIIIIHHII", inode, 0,
            kind | node.mode, node.uid & 0xFFFF, size & 0xFFFFFFFF, seconds, seconds, seconds, 0,
            node.gid & 0xFFFF, links, blocks & 0xFFFFFFFF, _EXTENTS if extents is not None else 0,
        )  # fmt: skip
        inode[40:100] = body
        struct.pack_into("<I", inode, 108, size >> 32)
        struct.pack_into("<HHHH", inode, 116, blocks >> 32, 0, node.uid >> 16, node.gid >> 16)
        struct.pack_into("<HHIIIII", inode, 128, _EXTRA, 0, epoch, epoch, epoch, seconds, epoch)
        if node.capability:
            inode[128 + _EXTRA :] = attributes(node.capability)
        self._groups.put_inode(number, bytes(inode))

    def _map(self, extents: list[Extent]) -> tuple[bytes, int]:
        """The 60 bytes of the inode that lead to the extents, and the blocks used for it."""
        rows = [
            struct.pack("<IHHI", logical, count, physical >> 32, physical & 0xFFFFFFFF)
            for logical, physical, count in extents
        ]
        starts = [logical for logical, _, _ in extents]
        depth, used = 0, 0
        while len(rows) > _ENTRIES_IN_ROOT:
            above, above_starts = [], []
            for at in range(0, len(rows), _ENTRIES_IN_BLOCK):
                part = rows[at : at + _ENTRIES_IN_BLOCK]
                block, _ = self._groups.run(1)
                head = struct.pack("<HHHHI", _EXTENT_MAGIC, len(part), _ENTRIES_IN_BLOCK, depth, 0)
                data = (head + b"".join(part)).ljust(BLOCK, b"\0")
                os.pwrite(self._file, data, block * BLOCK)
                used += 1
                low, high = block & 0xFFFFFFFF, block >> 32
                above.append(struct.pack("<IIHH", starts[at], low, high, 0))
                above_starts.append(starts[at])
            rows, starts, depth = above, above_starts, depth + 1
        head = struct.pack("<HHHHI", _EXTENT_MAGIC, len(rows), _ENTRIES_IN_ROOT, depth, 0)
        return (head + b"".join(rows)).ljust(60, b"\0"), used


def folder_blocks(entries: list[tuple[bytes, int, int]]) -> bytes:
    """The blocks of a folder: (name, inode, file type) of each entry."""
    blocks: list[bytes] = []
    block: list[tuple[bytes, int, int]] = []
    room = BLOCK
    for entry in entries:
        length = _entry_length(entry[0])
        if length > room:
            blocks.append(_folder_block(block))
            block, room = [], BLOCK
        block.append(entry)
        room -= length
    blocks.append(_folder_block(block))
    return b"".join(blocks)


def _folder_block(entries: list[tuple[bytes, int, int]]) -> bytes:
    parts, room = [], BLOCK
    for index, (name, inode, kind) in enumerate(entries):
        length = room if index == len(entries) - 1 else _entry_length(name)
        head = struct.pack("<IHBB", inode, length, len(name), kind)
        parts.append((head + name).ljust(length, b"\0"))
        room -= length
    return b"".join(parts)


def _entry_length(name: bytes) -> int:
    return 8 + (len(name) + 3 & ~3)


def attributes(capability: bytes) -> bytes:
    """The room behind an inode's fields, with ``security.capability`` in it."""
    room = INODE - 128 - _EXTRA
    name = b"capability"
    offset = room - 4 - (len(capability) + 3 & ~3)
    entry = struct.pack("<BBHIII", len(name), _SECURITY, offset, 0, len(capability), 0) + name
    data = bytearray(struct.pack("<I", _XATTR_MAGIC) + entry.ljust(28, b"\0")).ljust(room, b"\0")
    data[4 + offset : 4 + offset + len(capability)] = capability
    return bytes(data)


def _in_place(node: Node) -> bytes:
    """What stands in the inode instead of extents: a short link's target, a device's number."""
    if node.kind == "symlink":
        return node.target.ljust(_INLINE, b"\0")
    major, minor = node.device
    if node.kind in ("char", "block"):
        if major < 256 and minor < 256:
            return struct.pack("<I", major << 8 | minor).ljust(_INLINE, b"\0")
        new = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
        return struct.pack("<II", 0, new).ljust(_INLINE, b"\0")
    if node.kind != "fifo":
        raise Refused(f"a {node.kind} has no place in a file system")
    return bytes(_INLINE)


def _epoch(seconds: int) -> int:
    """The two bits that continue a time: the kernel reads the low 32 as signed."""
    low = seconds & 0xFFFFFFFF
    signed = low - 2**32 if low >= 2**31 else low
    return (seconds - signed) >> 32 & 3
