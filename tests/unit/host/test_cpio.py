"""The archives are what the kernel's format says, the same each time, and safe."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.host import cpio
from tests.requirements import needs

_NAME = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))
_PATH = st.lists(_NAME, min_size=1, max_size=4).map("/".join)


def parse(archive: bytes) -> list[tuple[str, int, bytes]]:
    """An independent reader of the format: name, mode, data."""
    found: list[tuple[str, int, bytes]] = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        at += 110 + name_size
        at += -at % 4
        if name == "TRAILER!!!":
            assert not archive[at:].strip(b"\0")
            return found
        found.append((name, mode, archive[at : at + size]))
        at += size
        at += -at % 4


@given(st.lists(st.tuples(_PATH, st.binary(max_size=40)), max_size=6))
def test_any_files_come_back(files: list[tuple[str, bytes]]) -> None:
    archive = cpio.archive(cpio.file(path, data) for path, data in files)
    assert [(n, d) for n, _, d in parse(archive)] == files
    assert len(archive) % cpio.ALIGNMENT == 0


def test_archives_can_follow_each_other() -> None:
    first = cpio.archive([cpio.file("a", b"1")])
    second = cpio.archive([cpio.file("bc", b"234")])
    joined = cpio.pad(first + b"") + second
    assert joined[len(first) :] == second
    assert cpio.pad(b"12345") == b"12345\0\0\0"


def test_types_and_modes() -> None:
    entries = [
        cpio.folder("dev"),
        cpio.character_device("dev/console", 5, 1),
        cpio.file("init", b"#!", 0o755),
        cpio.link("bin", "usr/bin"),
    ]
    modes = {name: mode for name, mode, _ in parse(cpio.archive(entries))}
    assert stat.S_ISDIR(modes["dev"])
    assert stat.S_ISCHR(modes["dev/console"])
    assert modes["init"] == stat.S_IFREG | 0o755
    assert stat.S_ISLNK(modes["bin"])


def test_missing_folders_come_before_their_members_and_once() -> None:
    entries = [cpio.file("a/b/c", b""), cpio.file("a/d", b""), cpio.folder("a/b", 0o700)]
    assert [e.path for e in cpio.with_folders(entries)] == ["a", "a/b", "a/b/c", "a/d"]


@pytest.mark.parametrize(
    "path", ["", "/etc", "a//b", "../a", "a/./b", "a\0", "TRAILER!!!", "x" * 4096]
)
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path in an archive"):
        cpio.archive([cpio.file(path, b"")])


@needs("busybox")
def test_busybox_unpacks_it(tmp_path: Path) -> None:
    entries = cpio.with_folders([cpio.file("x/y", b"hello", 0o640), cpio.link("x/z", "y")])
    subprocess.run(["busybox", "cpio", "-i"], input=cpio.archive(entries), cwd=tmp_path, check=True)
    assert (tmp_path / "x/z").read_bytes() == b"hello"
    assert stat.S_IMODE((tmp_path / "x/y").stat().st_mode) == 0o640
