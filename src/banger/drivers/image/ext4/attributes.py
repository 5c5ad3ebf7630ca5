"""Reads the extended attributes of a file on ext4 as the kernel would show them (pure but one)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from banger.drivers.image.ext4.volume import Damaged, Inode, Volume

_MAGIC = 0xEA020000
#: e_name_index -> how the name begins.
_PREFIXES = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
    7: b"system.",
}
_LISTS = (2, 3)
#: Entries of an access list that name a user or a group (linux/posix_acl.h).
_NAMING = (0x02, 0x08)
_NOBODY = 0xFFFFFFFF


def attributes_of(volume: Volume, inode: Inode) -> Iterator[tuple[bytes, bytes]]:
    """Name and value of each. Raises ``Damaged``."""
    if len(inode.tail) >= 8 and struct.unpack_from("<I", inode.tail)[0] == _MAGIC:
        yield from _entries(inode.tail, 4, 4)
    if inode.attribute_block:
        block = volume.block(inode.attribute_block)
        if struct.unpack_from("<I", block)[0] != _MAGIC:
            raise Damaged(f"the attributes of inode {inode.number} are damaged")
        yield from _entries(block, 32, 0)


def _entries(area: bytes, position: int, base: int) -> Iterator[tuple[bytes, bytes]]:
    """``base`` is what the offsets of values count from."""
    while any(area[position : position + 4]):
        if position + 16 > len(area):
            raise Damaged("an attribute of a file is damaged")
        length, index, offset, inum, size, _ = struct.unpack_from("<BBHIII", area, position)
        name = area[position + 16 : position + 16 + length]
        start = base + offset
        if inum or start + size > len(area) or position + 16 + length > len(area):
            raise Damaged("an attribute of a file is damaged")
        value = area[start : start + size]
        position += 16 + (length + 3 & ~3)
        if index not in _PREFIXES:
            raise Damaged(f"an attribute of a file is of an unknown kind ({index})")
        if index in _LISTS:
            yield _PREFIXES[index], access_list(value)
        else:
            yield _PREFIXES[index] + name, value


def access_list(stored: bytes) -> bytes:
    """An access control list in the form of the system calls. Raises ``Damaged``."""
    if len(stored) < 4 or struct.unpack_from("<I", stored)[0] != 1:
        raise Damaged("an access control list is of an unknown form")
    shown, position = [struct.pack("<I", 2)], 4
    while position < len(stored):
        if position + 4 > len(stored):
            raise Damaged("an access control list is damaged")
        tag, allowed = struct.unpack_from("<HH", stored, position)
        position += 4
        who = _NOBODY
        if tag in _NAMING:
            if position + 4 > len(stored):
                raise Damaged("an access control list is damaged")
            who = struct.unpack_from("<I", stored, position)[0]
            position += 4
        shown.append(struct.pack("<HHI", tag, allowed, who))
    return b"".join(shown)
