"""Reads tar archives of anybody's: headers of a window in, checked entries out.

The forms are those of pax(1) (POSIX.1-2017, "pax Interchange Format") and of GNU tar ("Basic Tar
Format" in its manual), with GNU's sparse files in all their forms. Content is never read here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from banger.drivers.image.unpack import sparse
from banger.drivers.image.unpack.limits import MAX_FILE_BYTES, MAX_HEADER_BYTES, Refused, shown
from banger.drivers.image.unpack.sparse import Piece
from banger.drivers.image.unpack.window import Window

BLOCK = 512
#: Type flags that are regular files in some archive or other.
_FILE = (b"0", b"\0", b"7", b"S")
KINDS = {b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block", b"5": "folder",
         b"6": "fifo"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``pieces`` of a file are where its bytes lie in the window; the rest is zeros."""

    name: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes = b""
    major: int = 0
    minor: int = 0
    pieces: tuple[Piece, ...] = ()
    pax: Mapping[bytes, bytes] = dataclasses.field(default_factory=dict)


def entries(window: Window) -> Iterator[Entry]:
    """The entries in order. Raises ``Refused`` at the first that is not whole and sound."""
    position = 0
    common: dict[bytes, bytes] = {}
    pax: dict[bytes, bytes] = {}
    long: dict[bytes, bytes] = {}
    while position < window.size:
        header = window.read(position, BLOCK)
        if not any(header):
            break
        _check_sum(header)
        flag, size = header[156:157], number(header[124:136])
        content = position + BLOCK
        if size < 0:
            raise Refused("the size of an entry is negative")
        if flag in (b"x", b"g", b"L", b"K", b"X"):
            if size > MAX_HEADER_BYTES:
                raise Refused(f"an extended header has {size} bytes")
            data = window.read(content, size)
            if flag == b"g":
                common.update(records(data))
            elif flag in (b"x", b"X"):
                pax = records(data)
            else:
                long[flag] = data.rstrip(b"\0")
            position = content + _padded(size)
            continue
        entry, position = _entry(window, header, content, {**common, **pax}, long)
        yield entry
        pax, long = {}, {}
    if pax or long:
        raise Refused("it ends after a header that belongs to the next entry")


def _entry(
    window: Window, header: bytes, content: int, pax: Mapping[bytes, bytes],
    long: Mapping[bytes, bytes],
) -> tuple[Entry, int]:  # fmt: skip
    flag = header[156:157]
    kind = "file" if flag in _FILE else KINDS.get(flag, "")
    name = pax.get(b"path", long.get(b"L", _name(header)))
    if not kind:
        raise Refused(f"{shown(name)} is of the unknown kind {flag!r}")
    if flag in (b"0", b"\0") and name.endswith(b"/"):
        kind = "folder"  # as before POSIX
    stored = _decimal(pax, b"size", number(header[124:136]))
    # Only files have content; some programs write the size of the target into links.
    stored = stored if kind == "file" else 0
    if stored < 0:
        raise Refused(f"the size of {shown(name)} is negative")
    end = content + _padded(stored)
    if content + stored > window.size:
        raise Refused(f"it ends in the middle of {shown(name)}")
    size, real = stored, name
    pieces: tuple[Piece, ...] = (Piece(0, content, stored),) if stored else ()
    if flag == b"S":
        size, pieces, end = sparse.old(window, header, content, stored)
    elif kind == "file" and any(key.startswith(b"GNU.sparse.") for key in pax):
        size, pieces, real = sparse.pax(window, pax, content, stored, name)
    if size > MAX_FILE_BYTES:
        raise Refused(f"{shown(name)} has {size} bytes")
    entry = Entry(
        name=real,
        kind=kind,
        mode=number(header[100:108]) & 0o7777,
        uid=_identity(_decimal(pax, b"uid", number(header[108:116]))),
        gid=_identity(_decimal(pax, b"gid", number(header[116:124]))),
        size=size,
        mtime=_time(pax, number(header[136:148])),
        link=pax.get(b"linkpath", long.get(b"K", header[157:257].partition(b"\0")[0])),
        major=number(header[329:337]) if kind in ("char", "block") else 0,
        minor=number(header[337:345]) if kind in ("char", "block") else 0,
        pieces=pieces,
        pax=pax,
    )
    for text in (entry.name, entry.link):
        if b"\0" in text:
            raise Refused(f"the name {shown(text)} has a zero byte in it")
    return entry, end


def number(field: bytes) -> int:
    """A number of a header: octal digits, or GNU's base 256. Raises ``Refused``."""
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        return value - 256 ** (len(field) - 1) if field[0] == 0xFF else value
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits and (not digits.isdigit() or b"8" in digits or b"9" in digits):
        raise Refused(f"a header has the number {shown(digits)}")
    return int(digits or b"0", 8)


def records(data: bytes) -> dict[bytes, bytes]:
    """The records of a pax header, each ``LENGTH KEY=VALUE`` and a line end."""
    found: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        if not any(data[position : position + 1]):
            break  # padding of some programs
        digits, blank, _ = data[position : position + 12].partition(b" ")
        if not blank or not digits.isdigit():
            raise Refused("an extended header is malformed")
        end = position + int(digits)
        record = data[position + len(digits) + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if end > len(data) or not record.endswith(b"\n") or not equals or not key:
            raise Refused("an extended header is malformed")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            value = found.get(key, b"") + b"," * (key in found) + value  # repeated, in order
        found[key] = value
        position = end
    return found


def _check_sum(header: bytes) -> None:
    said = number(header[148:156])
    blanked = header[:148] + b" " * 8 + header[156:]
    if said == sum(blanked):
        return
    # Some old programs added signed characters.
    if said != sum(blanked) - 256 * sum(1 for byte in blanked if byte > 127):
        raise Refused("an entry's header is damaged")


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _padded(size: int) -> int:
    return size + -size % BLOCK


def _decimal(pax: Mapping[bytes, bytes], key: bytes, otherwise: int) -> int:
    text = pax.get(key)
    if text is None:
        return otherwise
    if not text.isdigit() or len(text) > 20:
        raise Refused(f"an extended header says {shown(key)}={shown(text)}")
    return int(text)


def _identity(value: int) -> int:
    if not 0 <= value < 2**32 - 1:
        raise Refused(f"an entry belongs to the id {value}")
    return value


def _time(pax: Mapping[bytes, bytes], otherwise: int) -> int:
    text = pax.get(b"mtime", b"").partition(b".")[0]
    value = int(text) if text.isdigit() and len(text) < 20 else otherwise
    # ext4 ends in 2446.
    return min(max(value, 0), 2**34 - 1)
