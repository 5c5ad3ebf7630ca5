"""What is given as a root file system is named for what it is."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from banger.host.disk_content import ext_facts, read_head, what_is
from tests.requirements import needs


def at(offset: int, magic: bytes) -> bytes:
    return bytes(offset) + magic + bytes(2048)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (at(0x10040, b"_BHRfS_M"), "btrfs"),
        (at(0, b"XFSB"), "XFS"),
        (at(0x1FE, b"\x55\xaa")[:0x200] + b"EFI PART" + bytes(512), "GPT"),
        (at(0x1FE, b"\x55\xaa"), "MBR"),
        (at(0, b"QFI\xfb"), "qcow2"),
        (at(0, b"hsqs"), "squashfs"),
        (at(0x101, b"ustar"), "tar"),
        (at(0, b"\x1f\x8b"), "gzip"),
        (b"", "neither"),
        (b"text", "neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_others_are_named(head: bytes, word: str) -> None:
    assert word in what_is(head)


@needs("e2fsprogs")
@pytest.mark.parametrize("options", [(), ("-O", "64bit,metadata_csum"), ("-O", "^has_journal")])
def test_facts_of_real_file_systems(tmp_path: Path, options: tuple[str, ...]) -> None:
    image, tree = tmp_path / "disk", tmp_path / "tree"
    argv = ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", *options]
    subprocess.run([*argv, image, "32M"], check=True)
    head = read_head(image)
    assert what_is(head) == ""
    facts = ext_facts(head)
    assert facts.size == 32 << 20
    assert 0 < facts.free < facts.size
    assert facts.empty
    assert not facts.unknown_features

    tree.mkdir()
    for name in ("etc", "sbin"):
        (tree / name).mkdir()
    subprocess.run([*argv, "-d", tree, image, "32M"], check=True)
    assert not ext_facts(read_head(image)).empty


@needs("e2fsprogs")
def test_a_feature_of_the_future_is_seen(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", image, "8M"], check=True)
    content = bytearray(image.read_bytes())
    struct.pack_into("<I", content, 0x460, 1 << 30)
    assert ext_facts(bytes(content)).unknown_features == 1 << 30
