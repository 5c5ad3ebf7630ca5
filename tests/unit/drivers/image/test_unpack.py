"""The reader of foreign archives: tar against Python's own, the tree's rules, the file system."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.drivers.image.confined import packed
from banger.drivers.image.unpack import inflate
from banger.drivers.image.unpack.ext4 import attributes, folder_blocks
from banger.drivers.image.unpack.ext4_groups import crc16
from banger.drivers.image.unpack.layer import apply
from banger.drivers.image.unpack.limits import Refused, shown
from banger.drivers.image.unpack.members import of_archive
from banger.drivers.image.unpack.tar import entries, number, records
from banger.drivers.image.unpack.tree import Node, Tree, split
from banger.drivers.image.unpack.window import Window, whole
from tests.fakes.archives import entry, files, tar

FORMS: tuple[Literal[0, 1, 2], ...] = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=90),
    min_size=1,
    max_size=4,
).filter(lambda parts: all(part not in {".", ".."} for part in parts))


class Opened:
    """Windows over bytes in memory; closed at the end of each example."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def __call__(self, data: bytes) -> Window:
        descriptor = os.memfd_create("test", os.MFD_CLOEXEC)
        self._descriptors.append(descriptor)
        os.pwrite(descriptor, data, 0)
        return whole(descriptor)

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


@pytest.fixture
def window() -> Iterator[Opened]:
    opened = Opened()
    yield opened
    opened.close()


def built(*layers: bytes) -> Tree:
    opened, tree = Opened(), Tree()
    try:
        for layer_number, layer in enumerate(layers, start=1):
            tree.layer = layer_number
            for each in entries(opened(layer)):
                apply(tree, each, layer_number)
    finally:
        opened.close()
    return tree


def names(node: Node | None) -> set[bytes]:
    assert node is not None
    return set(node.children)


@given(
    form=st.sampled_from(FORMS),
    members=st.lists(st.tuples(NAMES, st.binary(max_size=2000)), max_size=5),
    owner=st.integers(0, 2**31),
    seconds=st.integers(0, 2**33),
)
def test_reads_what_python_writes(
    form: Literal[0, 1, 2], members: list[tuple[list[str], bytes]], owner: int, seconds: int
) -> None:
    buffer, kept = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w", format=form, encoding="utf-8") as archive:
        for parts, content in members:
            head = entry("/".join(parts), uid=owner, mtime=seconds, size=len(content))
            try:
                head.tobuf(form, "utf-8")
            except (ValueError, UnicodeError):
                continue  # the form has no room for it
            archive.addfile(head, io.BytesIO(content))
            kept.append((head.name, content))
    opened = Opened()
    try:
        read = list(entries(opened(buffer.getvalue())))
        got = [
            b"".join(opened(buffer.getvalue()).read(p.position, p.size) for p in each.pieces)
            for each in read
        ]
    finally:
        opened.close()
    assert [(each.name.decode(), each.uid, each.mtime) for each in read] == [
        (name, owner, seconds) for name, _ in kept
    ]
    assert got == [content for _, content in kept]


@given(
    base=st.sampled_from([files(a=b"x" * 700, b=b"y"), tar(entry("n" * 300), (entry("s"), b"x"))]),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=12))),
    length=st.integers(0, 12_000),
    summed=st.booleans(),
)
def test_damage_is_read_or_refused(
    base: bytes, changes: list[tuple[int, bytes]], length: int, *, summed: bool
) -> None:
    """Never another error, never for ever, and never a byte from outside the archive."""
    data = bytearray(base)
    for place, value in changes:
        data[place : place + len(value)] = value
    for start in range(0, len(data) - 511, 512) if summed else ():
        if any(data[start : start + 100]):
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    data = data[:length]
    tree, opened, cause = Tree(), Opened(), "none"
    try:
        for each in entries(opened(bytes(data))):
            assert all(p.position + p.size <= len(data) for p in each.pieces)
            assert all(p.offset >= 0 and p.offset + p.size <= each.size for p in each.pieces)
            apply(tree, each, 1)
        of_archive(opened(bytes(data)))
    except Refused as refused:
        cause = str(refused)
    finally:
        opened.close()
    assert cause.isprintable()


@given(st.binary(max_size=300))
def test_records_and_numbers(data: bytes) -> None:
    for read in (records, lambda field: number(field or b"\0")):
        try:
            read(data)
        except Refused:
            continue


@given(st.binary(max_size=3000))
def test_gunzip(data: bytes) -> None:
    opened = Opened()
    try:
        list(inflate.gunzip(opened(b"\x1f\x8b\x08\0" + data)))
    except Refused:
        pass
    finally:
        opened.close()


def test_layers_go_over_each_other() -> None:
    tree = built(
        files(etc__motd=b"one", etc__gone=b"x", opt__old__a=b"1", keep=b"k"),
        tar(
            entry("etc/.wh.gone"), (entry("opt/new"), b"2"), entry("opt/.wh..wh..opq"),
            entry("etc", tarfile.DIRTYPE, mode=0o700), entry(".wh..wh.aufs"),
        ),
    )  # fmt: skip
    assert names(tree.find(b"etc")) == {b"motd"}
    assert names(tree.find(b"opt")) == {b"new"}
    assert names(tree.root) == {b"etc", b"opt", b"keep"}
    etc = tree.find(b"etc")
    assert etc is not None
    assert etc.mode == 0o700


def test_a_whiteout_spares_its_own_layer() -> None:
    tree = built(
        files(d__old=b"1", d__sub__x=b"1"),
        tar((entry("d/sub/new"), b"2"), entry(".wh.d"), (entry("d/late"), b"3")),
    )
    assert names(tree.find(b"d")) == {b"sub", b"late"}
    assert names(tree.find(b"d/sub")) == {b"new"}


def test_links_are_followed_inside_the_root() -> None:
    tree = built(
        tar(
            entry("usr/lib", tarfile.DIRTYPE),
            entry("lib", tarfile.SYMTYPE, linkname="usr/lib"),
            entry("up", tarfile.SYMTYPE, linkname="../../../usr"),
            entry("root", tarfile.SYMTYPE, linkname="/"),
            (entry("lib/a"), b"1"),
            (entry("up/lib/b"), b"2"),
            (entry("root/root/usr/lib/c"), b"3"),
        )
    )
    assert names(tree.find(b"usr/lib")) == {b"a", b"b", b"c"}
    found = tree.find(b"lib")
    assert found is not None
    assert found.kind == "symlink"
    followed = tree.find(b"lib", follow=True)
    assert followed is tree.find(b"usr/lib")
    assert tree.find(b"lib/nothing/here") is None


def test_hard_links_count_their_names() -> None:
    hard = tarfile.LNKTYPE
    tree = built(
        tar(
            (entry("a"), b"1"), entry("b", hard, linkname="a"), entry("c", hard, linkname="./a"),
            (entry("c"), b"2"), entry("d/e", hard, linkname="b"), (entry("d"), b"3"),
        )
    )  # fmt: skip
    first = tree.find(b"a")
    assert first is tree.find(b"b")
    assert first is not None
    assert first.links == 2


@pytest.mark.parametrize("path", [b"..", b"a/../b", b"", b"x" * 5000, b"n" * 256])
def test_paths_that_are_none(path: bytes) -> None:
    with pytest.raises(Refused):
        split(path)


def test_names_are_shown_without_control() -> None:
    assert shown(b"\x1b[31mred\n\xff") == "\\x1b[31mred\\x0a\\xff"
    assert len(shown(b"x" * 1000)) == 121


def test_the_checksum_of_groups() -> None:
    """The check value of CRC-16/MODBUS, which is this one."""
    assert crc16(b"123456789") == 0x4B37


@given(st.lists(st.binary(min_size=1, max_size=255), unique=True, max_size=100))
def test_folders_fill_their_blocks(found: list[bytes]) -> None:
    blocks = folder_blocks([(b".", 2, 2), (b"..", 2, 2), *((name, 12, 1) for name in found)])
    assert len(blocks) % 4096 == 0
    read, at = [], 0
    while at < len(blocks):
        length, size = int.from_bytes(blocks[at + 4 : at + 6], "little"), blocks[at + 6]
        assert length >= 8 + size
        assert at // 4096 == (at + length - 1) // 4096, "an entry in two blocks"
        read.append(blocks[at + 8 : at + 8 + size])
        at += length
    assert read == [b".", b"..", *found]


@pytest.mark.parametrize("size", [12, 20, 24])
def test_attributes_end_where_the_inode_does(size: int) -> None:
    value = bytes(range(size))
    room = attributes(value)
    assert (len(room), room[-size:]) == (96, value)


def test_the_program_is_whole() -> None:
    """What is packed imports nothing but itself and the standard library."""
    folder = Path(inflate.__file__).parent
    for module in folder.glob("*.py"):
        for line in module.read_text().splitlines():
            if line.startswith(("from banger", "import banger")):
                assert line.split()[1].startswith("banger.drivers.image.unpack"), module
    with zipfile.ZipFile(io.BytesIO(packed())) as archive:
        inside = {Path(name).name for name in archive.namelist() if "unpack/" in name}
    assert inside == {module.name for module in folder.glob("*.py")}
