from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.client.archive import Unpacking, UnsafeArchive
from banger.client.packing import Packing, total_bytes
from banger.client.tar_format import (
    END,
    FILE,
    FOLDER,
    SYMLINK,
    MalformedArchive,
    Member,
    decode_members,
    encode_member,
    padding,
)

NAMES = st.binary(min_size=1, max_size=300).filter(
    lambda b: b"\0" not in b and not b.endswith(b"/") and b not in (b".", b"..")
)


def reader(data: bytes) -> Callable[[int], bytes]:
    stream = io.BytesIO(data)

    def read(size: int) -> bytes:
        piece = stream.read(size)
        if len(piece) < size:
            raise EOFError
        return piece

    return read


@given(
    NAMES,
    st.integers(0, 0o7777),
    st.integers(0, 2**40),
    st.integers(-(2**34), 2**34),
    st.binary(max_size=200).filter(lambda b: b"\0" not in b),
)
def test_members_survive(name: bytes, mode: int, size: int, mtime: int, link: bytes) -> None:
    file = Member(name, FILE, mode, size, mtime)
    read = reader(encode_member(file))
    assert next(decode_members(read)) == file
    sym = Member(name, SYMLINK, mode, 0, mtime, link or b"x")
    assert next(decode_members(reader(encode_member(sym) + END))) == sym


@given(st.binary(max_size=2000))
def test_garbage_is_refused(data: bytes) -> None:
    try:
        for member in decode_members(reader(data)):
            assert member.size >= 0
    except (MalformedArchive, EOFError):
        pass


def fill(folder: Path) -> Path:
    source = folder / "source"
    (source / "deep/er").mkdir(parents=True)
    (source / "deep/er/file").write_bytes(os.urandom(70_000))
    (source / "empty").touch()
    (source / ("n" * 200)).write_text("long name")
    (source / "ünïcode ☃").write_text("x")
    (source / "program").write_text("#!/bin/sh\n")
    (source / "program").chmod(0o755)
    (source / "link").symlink_to("deep/er/file")
    (source / "dangling").symlink_to("/" + "d" * 150)
    os.utime(source / "empty", (1_000_000_000, 1_000_000_000))
    (source / "deep").chmod(0o500)
    return source


def facts(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        link = str(path.readlink()) if path.is_symlink() else None
        mtime = None if path.is_symlink() else int(status.st_mtime)
        found[str(path.relative_to(root))] = (stat.S_IFMT(status.st_mode), content, link, mtime)
        if not path.is_symlink():
            found[str(path.relative_to(root))] += (stat.S_IMODE(status.st_mode),)
    return found


def unpack(data: bytes, target: Path, rename: str = "") -> Unpacking:
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpacking = Unpacking(root, reader(data), rename=rename)
        unpacking.run()
    finally:
        os.close(root)
    return unpacking


def test_the_systems_tar_reads_what_we_write(tmp_path: Path) -> None:
    source = fill(tmp_path)
    data = b"".join(Packing(str(source), "source").pieces())
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(["tar", "-xpf", "-", "-C", str(target)], input=data, check=True)
    assert facts(target / "source") == facts(source)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert "source/" + "n" * 200 in names
    assert total_bytes(str(source)) == 70_000 + 9 + 1 + 10


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_we_read_what_the_systems_tar_writes(tmp_path: Path, form: str) -> None:
    source = fill(tmp_path)
    if form == "ustar":
        (source / "dangling").unlink()
        (source / ("n" * 200)).unlink()
    data = subprocess.run(
        ["tar", f"--format={form}", "-cf", "-", "-C", str(tmp_path), "--", "source"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    target = tmp_path / "target"
    target.mkdir()
    unpack(data, target, rename="copy")
    assert facts(target / "copy") == facts(source)


def test_hard_links_inside_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("same")
    (source / "b").hardlink_to(source / "a")
    argv = ["tar", "-cf", "-", "-C", str(tmp_path), "source"]
    data = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
    target = tmp_path / "target"
    target.mkdir()
    unpack(data, target, rename="x")
    assert (target / "x/a").stat().st_ino == (target / "x/b").stat().st_ino


def archive(*members: tuple[str, str, bytes]) -> bytes:
    """Members as ``(name, kind, content or link)``."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o6777
            if kind == "file":
                info.size = len(content)
            else:
                info.type = {
                    "folder": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE,
                    "hardlink": tarfile.LNKTYPE, "device": tarfile.CHRTYPE,
                    "fifo": tarfile.FIFOTYPE,
                }[kind]  # fmt: skip
                info.linkname = content.decode()
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


ATTACKS = {
    "absolute": [("/etc/x", "file", b"x")],
    "dots": [("d/../../x", "file", b"x")],
    "through a link": [("d", "symlink", b"/tmp"), ("d/x", "file", b"x")],
    "through a link of links": [
        ("a", "symlink", b"."), ("a/b", "symlink", b".."), ("a/b/x", "file", b"x"),
    ],
    "folder over a link": [("d", "symlink", b"/tmp"), ("d", "folder", b"")],
    "hard link out": [("h", "hardlink", b"/etc/passwd")],
    "hard link dots": [("h", "hardlink", b"../secret")],
    "hard link to a link": [("l", "symlink", b"/etc/passwd"), ("h", "hardlink", b"l")],
    "file over a folder": [("d", "folder", b""), ("d", "file", b"x")],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_nothing_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(UnsafeArchive):
        unpack(archive(*ATTACKS[name]), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "target"]
    assert (tmp_path / "secret").read_text() == "secret"


def test_links_that_lie_there_already_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "precious").write_text("precious")
    target = tmp_path / "target"
    target.mkdir()
    (target / "d").symlink_to("../outside")
    (target / "f").symlink_to("../precious")
    with pytest.raises(UnsafeArchive):
        unpack(archive(("d/x", "file", b"x")), target)
    unpack(archive(("f", "file", b"new")), target)
    assert (tmp_path / "precious").read_text() == "precious"
    assert ((target / "f").read_text(), (target / "f").is_symlink()) == ("new", False)
    assert not list((tmp_path / "outside").iterdir())


def test_rights_are_dropped_and_devices_skipped(tmp_path: Path) -> None:
    done = unpack(archive(("f", "file", b"x"), ("c", "device", b""), ("p", "fifo", b"")), tmp_path)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o777
    assert done.skipped == ["c", "p"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]


def test_only_what_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive):
        unpack(archive(("a", "file", b"x"), ("b", "file", b"x")), tmp_path, rename="c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_half_a_file_is_removed(tmp_path: Path) -> None:
    data = encode_member(Member(b"f", FILE, size=1000)) + b"x" * 100
    with pytest.raises(EOFError):
        unpack(data, tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_that_are_too_long_and_headers_too_large(tmp_path: Path) -> None:
    huge = bytearray(encode_member(Member(b"n" * 200, FOLDER))[:512])
    huge[124:136] = b"77777777777\0"
    huge[148:156] = b"%06o\0 " % (sum(huge[:148]) + 256 + sum(huge[156:]))
    with pytest.raises(UnsafeArchive):
        unpack(bytes(huge), tmp_path)
    assert padding(513) == bytes(511)


def test_special_files_of_the_host_are_skipped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    packing = Packing(str(tmp_path), ".")
    assert b"".join(packing.pieces()) == END
    assert packing.skipped == [str(tmp_path / "fifo")]
