"""The maps of GNU tar's sparse files: where the bytes that are there lie (all forms)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from banger.drivers.image.unpack.limits import MAX_SPARSE_PIECES, Refused, shown
from banger.drivers.image.unpack.window import Window

_BLOCK = 512


class Piece(NamedTuple):
    """``size`` bytes of a file from ``offset`` on lie in the window at ``position``."""

    offset: int
    position: int
    size: int


def old(
    window: Window, header: bytes, content: int, stored: int
) -> tuple[int, tuple[Piece, ...], int]:
    """GNU's own header: (size of the file, its pieces, where the next entry begins)."""
    pairs = _pairs(header[386:482])
    more, size = header[482], _number(header[483:495])
    while more:
        block = window.read(content, _BLOCK)
        pairs += _pairs(block[:504])
        if len(pairs) > MAX_SPARSE_PIECES:
            raise Refused("a sparse file has too many pieces")
        more = block[504]
        content += _BLOCK
    end = content + stored + -stored % _BLOCK
    if content + stored > window.size:
        raise Refused("it ends in the middle of a sparse file")
    return size, _placed(pairs, size, content, stored), end


def pax(
    window: Window, said: Mapping[bytes, bytes], content: int, stored: int, name: bytes
) -> tuple[int, tuple[Piece, ...], bytes]:
    """The forms in extended headers: (size of the file, its pieces, its real name)."""
    real = said.get(b"GNU.sparse.name", name)
    size = _decimal(said.get(b"GNU.sparse.realsize", said.get(b"GNU.sparse.size", b"")))
    if said.get(b"GNU.sparse.major") == b"1":
        numbers, used = _leading_map(window, content, stored)
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        return size, _placed(pairs, size, content + used, stored - used), real
    if b"GNU.sparse.map" in said:
        numbers = _numbers(said[b"GNU.sparse.map"])
        offsets, sizes = numbers[::2], numbers[1::2]
    else:
        offsets = _numbers(said.get(b"GNU.sparse.offset", b""))
        sizes = _numbers(said.get(b"GNU.sparse.numbytes", b""))
    if len(offsets) != len(sizes):
        raise Refused(f"the map of the sparse file {shown(real)} is odd")
    return size, _placed(list(zip(offsets, sizes, strict=True)), size, content, stored), real


def _placed(
    pairs: Sequence[tuple[int, int]], size: int, content: int, stored: int
) -> tuple[Piece, ...]:
    pieces, position, last = [], content, 0
    for offset, count in pairs:
        if offset < last or count < 0 or offset + count > size:
            raise Refused("the map of a sparse file is out of order")
        if count:
            pieces.append(Piece(offset, position, count))
        last = offset + count
        position += count
    if position - content > stored:
        raise Refused("the map of a sparse file says more than is there")
    return tuple(pieces)


def _pairs(data: bytes) -> list[tuple[int, int]]:
    found = []
    for start in range(0, len(data) - 23, 24):
        if not any(data[start : start + 12]):
            break
        found.append((_number(data[start : start + 12]), _number(data[start + 12 : start + 24])))
    return found


def _number(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if (not digits.isdigit() and digits) or b"8" in digits or b"9" in digits:
        raise Refused("a sparse file's header is malformed")
    return int(digits or b"0", 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Refused("a sparse file's header is malformed")
    return int(text)


def _numbers(text: bytes) -> list[int]:
    numbers = [_decimal(word) for word in text.split(b",") if word]
    if len(numbers) > 2 * MAX_SPARSE_PIECES:
        raise Refused("a sparse file has too many pieces")
    return numbers


def _leading_map(window: Window, content: int, stored: int) -> tuple[list[int], int]:
    """Form 1.0: the map stands before the content, one number a line, padded to a block."""
    text, used, wanted = b"", 0, 1
    numbers: list[int] = []
    while len(numbers) < wanted:
        if used >= stored or used > 24 * MAX_SPARSE_PIECES:
            raise Refused("a sparse file's map does not end")
        text += window.read(content + used, min(_BLOCK, stored - used))
        used += _BLOCK
        lines = text.split(b"\n")
        text = lines.pop()
        numbers += [_decimal(line) for line in lines]
        if numbers and wanted == 1:
            if numbers[0] > MAX_SPARSE_PIECES:
                raise Refused("a sparse file has too many pieces")
            wanted = 1 + 2 * numbers[0]
    return numbers[1:wanted], used
