"""Tar headers to and from bytes: what GNU and busybox tar understand, and no more (pure).

The standard library's module is not used to read what a guest sends: an archive is data from
an untrusted machine, and here every size is bounded before anything of it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK = 512
END = bytes(2 * BLOCK)
#: More than PATH_MAX, and enough for the extended headers that tar writes.
MAX_EXTENSION = 64 * 1024

FILE = "file"
FOLDER = "folder"
SYMLINK = "symlink"
HARDLINK = "hardlink"
OTHER = "other"
_TYPES = {FILE: b"0", FOLDER: b"5", SYMLINK: b"2"}
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"5": FOLDER, b"2": SYMLINK, b"1": HARDLINK}


class Member(NamedTuple):
    """One entry of an archive. ``size`` bytes of content follow a file's header."""

    name: bytes
    kind: str
    mode: int = 0o644
    size: int = 0
    mtime: int = 0
    link: bytes = b""


class MalformedArchive(ValueError):
    """The bytes are no archive that is understood."""


def padding(size: int) -> bytes:
    """The zeros that fill the last block of ``size`` bytes of content."""
    return bytes(-size % BLOCK)


def _number(value: int, width: int) -> bytes:
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    # Base 256: the first bit set, the rest is a big-endian two's complement number.
    raw = bytearray(value.to_bytes(width, "big", signed=True))
    raw[0] |= 0x80
    return bytes(raw)


def _block(name: bytes, member: Member, flag: bytes, size: int, link: bytes) -> bytes:
    fields = [
        name[:100].ljust(100, b"\0"),
        _number(member.mode & 0o7777, 8),
        _number(0, 8),
        _number(0, 8),
        _number(size, 12),
        _number(member.mtime, 12),
        b" " * 8,
        flag,
        link[:100].ljust(100, b"\0"),
        b"ustar  \0",
        b"root".ljust(32, b"\0"),
        b"root".ljust(32, b"\0"),
    ]
    block = bytearray(b"".join(fields).ljust(BLOCK, b"\0"))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _long(flag: bytes, text: bytes) -> bytes:
    content = text + b"\0"
    head = _block(b"././@LongLink", Member(b"", FILE), flag, len(content), b"")
    return head + content + padding(len(content))


def encode_member(member: Member) -> bytes:
    """The header of ``member``, owned by root, with GNU's extensions for what is long."""
    name = member.name + b"/" if member.kind == FOLDER else member.name
    parts = []
    if len(name) > 100:
        parts.append(_long(b"L", name))
    if len(member.link) > 100:
        parts.append(_long(b"K", member.link))
    size = member.size if member.kind == FILE else 0
    parts.append(_block(name, member, _TYPES[member.kind], size, member.link))
    return b"".join(parts)


def _decode_number(field: bytes) -> int:
    if field[0] & 0x80:
        raw = bytearray(field)
        negative = raw[0] & 0x40
        raw[0] = raw[0] | 0x80 if negative else raw[0] & 0x7F
        return int.from_bytes(raw, "big", signed=bool(negative))
    text = field.strip(b"\0 ")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise MalformedArchive("a number in a header is malformed") from None


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _decode_pax(content: bytes) -> dict[bytes, bytes]:
    """The records of an extended header: ``LENGTH KEY=VALUE\\n``."""
    found: dict[bytes, bytes] = {}
    while content:
        digits, blank, _ = content.partition(b" ")
        if not blank or not digits.isdigit() or len(digits) > 8:
            raise MalformedArchive("an extended header is malformed")
        length = int(digits)
        record = content[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if length > len(content) or not equals or not value.endswith(b"\n"):
            raise MalformedArchive("an extended header is malformed")
        found[key] = value[:-1]
        content = content[length:]
    return found


def decode_members(read: Callable[[int], bytes]) -> Iterator[Member]:
    """The members of the archive that ``read(exactly n bytes)`` gives.

    The caller takes each file's content and its padding from ``read`` before it asks for the
    next member. Raises ``MalformedArchive``.
    """
    name = link = b""
    pax: dict[bytes, bytes] = {}
    while True:
        block = read(BLOCK)
        if block == bytes(BLOCK):
            return
        if _decode_number(block[148:156]) != sum(block[:148]) + 8 * 32 + sum(block[156:]):
            raise MalformedArchive("a header's checksum is wrong")
        flag = block[156:157]
        size = _decode_number(block[124:136])
        if flag in (b"L", b"K", b"x", b"g"):
            if not 0 <= size <= MAX_EXTENSION:
                raise MalformedArchive("an extended header is too large")
            content = read(size + len(padding(size)))[:size]
            if flag == b"L":
                name = _text(content)
            elif flag == b"K":
                link = _text(content)
            elif flag == b"x":
                pax = _decode_pax(content)
            continue
        yield _member(block, name or pax.get(b"path", b""), link or pax.get(b"linkpath", b""), pax)
        name = link = b""
        pax = {}


def _member(block: bytes, name: bytes, link: bytes, pax: dict[bytes, bytes]) -> Member:
    flag, size = block[156:157], _decode_number(block[124:136])
    if not name:
        name = _text(block[:100])
        # Only POSIX archives have a prefix there; GNU's have times.
        if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
            name = prefix + b"/" + name
    kind = _KINDS.get(flag, OTHER)
    if kind == FILE and name.endswith(b"/"):
        kind = FOLDER
    if (given := pax.get(b"size", b"")).isdigit():
        size = int(given[:20])
    if size < 0:
        raise MalformedArchive("a size is negative")
    return Member(
        name=name,
        kind=kind,
        mode=_decode_number(block[100:108]) & 0o7777,
        size=size if flag not in (b"1", b"2", b"3", b"4", b"5", b"6") else 0,
        mtime=_decode_number(block[136:148]),
        link=link or _text(block[157:257]),
    )
