from __future__ import annotations

import hashlib
import os
from pathlib import Path

from banger.drivers.image.digest import BLOCK, content_sha256


def test_the_definition(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(BLOCK) + b"x" * BLOCK + b"y")
    expected = hashlib.sha256()
    expected.update(BLOCK.to_bytes(8, "little") + b"x" * BLOCK)
    expected.update((2 * BLOCK).to_bytes(8, "little") + b"y".ljust(BLOCK, b"\0"))
    expected.update((2 * BLOCK + 1).to_bytes(8, "little"))
    assert content_sha256(file) == expected.hexdigest()


def test_holes_and_zeros_are_alike(tmp_path: Path) -> None:
    sparse, full = tmp_path / "sparse", tmp_path / "full"
    with sparse.open("wb") as file:
        file.truncate(40 * BLOCK)
        for offset in (3 * BLOCK + 5, 30 * BLOCK):
            os.pwrite(file.fileno(), b"data", offset)
    full.write_bytes(sparse.read_bytes())
    assert content_sha256(sparse) == content_sha256(full)


def test_place_and_size_count(tmp_path: Path) -> None:
    digests = set()
    for number, content in enumerate(
        (b"a" + bytes(9 * BLOCK), bytes(BLOCK) + b"a" + bytes(8 * BLOCK), b"a" + bytes(8 * BLOCK))
    ):
        file = tmp_path / str(number)
        file.write_bytes(content)
        digests.add(content_sha256(file))
    assert len(digests) == 3


def test_a_large_extent_is_read_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(BLOCK) * 1500)
    copy = tmp_path / "copy"
    copy.write_bytes(file.read_bytes())
    assert content_sha256(file) == content_sha256(copy)
