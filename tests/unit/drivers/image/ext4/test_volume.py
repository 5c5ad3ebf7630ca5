from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from banger.drivers.image.ext4.attributes import access_list, attributes_of
from banger.drivers.image.ext4.volume import ROOT_INODE, Damaged, Inode, Volume
from tests.requirements import needs

pytestmark = needs("e2fsprogs")

#: How a file system may be: type, block size, and what is not usual.
KINDS = {
    "ext4": ("-t", "ext4", "-b", "4096"),
    "small-blocks": ("-t", "ext4", "-b", "1024"),
    "ext2": ("-t", "ext2", "-b", "1024"),
    "old-inodes": ("-t", "ext2", "-b", "1024", "-I", "128"),
    "ext3": ("-t", "ext3", "-b", "4096"),
    "checksums": ("-t", "ext4", "-O", "metadata_csum,64bit"),
    "32bit": ("-t", "ext4", "-O", "^64bit"),
}
#: 1 KiB blocks have one, two and three levels of indirection below this size.
BIG = 300_000


def make(folder: Path, *options: str) -> Path:
    """A file system with one of everything that an ordinary user can make."""
    tree = folder / "tree"
    if not tree.exists():
        (tree / "etc/deep").mkdir(parents=True)
        (tree / "etc/deep/file").write_bytes(b"content\n")
        (tree / "big").write_bytes(bytes(n % 251 for n in range(BIG)))
        with (tree / "sparse").open("wb") as file:
            file.truncate(5_000_000)
            file.seek(4_000_000)
            file.write(b"x")
        (tree / "short").symlink_to("etc")
        (tree / "long").symlink_to("/".join(["etc/.."] * 30))
        (tree / "empty").touch()
        os.link(tree / "big", tree / "same")
        for number in range(300):
            (tree / "etc" / f"name-{number:03}-{'x' * 50}").touch()
        os.utime(tree / "etc/deep/file", (1, 1_600_000_000))
        (tree / "etc/deep/file").chmod(0o640)
    image = folder / "image"
    image.unlink(missing_ok=True)
    argv = ["/usr/sbin/mke2fs", "-q", "-F", "-d", str(tree), *options, str(image), "24M"]
    subprocess.run(argv, check=True, capture_output=True)
    return image


def walk(volume: Volume, inode: Inode | None = None, path: str = "") -> Iterator[tuple[str, Inode]]:
    top = inode or volume.inode(ROOT_INODE)
    for name, number in volume.entries(top):
        below = volume.inode(number)
        shown = f"{path}/{os.fsdecode(name)}"
        yield shown, below
        if stat.S_ISDIR(below.mode) and shown != "/lost+found":
            yield from walk(volume, below, shown)


def content(volume: Volume, inode: Inode) -> bytes:
    data = bytearray(inode.size)
    for run in volume.runs(inode):
        at = run.logical * volume.block_size
        for piece in volume.data(run.physical, run.length):
            data[at : at + len(piece)] = piece
            at += len(piece)
    return bytes(data[: inode.size])


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_as_it_was(tmp_path: Path, kind: str) -> None:
    image, tree = make(tmp_path, *KINDS[kind]), tmp_path / "tree"
    with image.open("rb") as file:
        volume = Volume(file.fileno())
        found = dict(walk(volume))
        del found["/lost+found"]
        assert {tree / path[1:] for path in found} == set(tree.rglob("*"))
        for path, inode in found.items():
            real = (tree / path[1:]).lstat()
            assert (inode.mode, inode.uid, inode.gid) == (real.st_mode, real.st_uid, real.st_gid)
            assert inode.mtime // 10**9 == real.st_mtime_ns // 10**9
            if stat.S_ISLNK(inode.mode):
                assert volume.link(inode) == os.fsencode(os.readlink(tree / path[1:]))  # noqa: PTH115
            elif stat.S_ISREG(inode.mode):
                assert content(volume, inode) == (tree / path[1:]).read_bytes()
        assert found["/big"].number == found["/same"].number
        assert not volume.needs_recovery
        assert BIG < volume.used_bytes < 24 << 20


def debugfs(image: Path, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    argv = ["/usr/sbin/debugfs", "-w", "-f", "-", str(image)]
    subprocess.run(argv, input=text, text=True, check=True, capture_output=True)


def test_devices_and_attributes(tmp_path: Path) -> None:
    image = make(tmp_path, *KINDS["ext4"])
    # The second attribute does not fit into the inode.
    large = tmp_path / "large"
    large.write_bytes(b"v" * 2000)
    debugfs(
        image,
        "mknod null c 1 3",
        "mknod far b 259 700",
        "mknod pipe p",
        "ea_set /empty user.small value",
        f"ea_set -f {large} /empty trusted.large",
    )
    with image.open("rb") as file:
        volume = Volume(file.fileno())
        found = dict(walk(volume))
        assert stat.S_ISCHR(found["/null"].mode)
        assert found["/null"].device == (1, 3)
        assert stat.S_ISBLK(found["/far"].mode)
        assert found["/far"].device == (259, 700)
        assert stat.S_ISFIFO(found["/pipe"].mode)
        assert dict(attributes_of(volume, found["/empty"])) == {
            b"user.small": b"value",
            b"trusted.large": b"v" * 2000,
        }
        assert not dict(attributes_of(volume, found["/big"]))


def test_an_access_list_is_shown_as_the_kernel_does() -> None:
    stored = struct.pack("<IHHHHIHH", 1, 1, 7, 2, 5, 1000, 0x20, 4)
    shown = struct.pack("<IHHIHHIHHI", 2, 1, 7, 0xFFFFFFFF, 2, 5, 1000, 0x20, 4, 0xFFFFFFFF)
    assert access_list(stored) == shown
    for damaged in (b"", stored[:-1], struct.pack("<I", 2), stored[:14]):
        with pytest.raises(Damaged):
            access_list(damaged)


@pytest.mark.parametrize(
    ("options", "said"),
    [(("-O", "encrypt"), "encryption"), (("-O", "inline_data"), "data in inodes"),
     (("-O", "ea_inode"), "attributes in inodes"), (("-O", "meta_bg,^resize_inode"), "meta block")],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    image = make(tmp_path, "-t", "ext4", *options)
    with image.open("rb") as file, pytest.raises(Damaged, match=said):
        Volume(file.fileno())


def test_what_is_no_file_system(tmp_path: Path) -> None:
    other = tmp_path / "other"
    for data in (b"", b"x" * 1000, bytes(4096), b"\x7fELF" * 2000):
        other.write_bytes(data)
        with other.open("rb") as file, pytest.raises(Damaged):
            Volume(file.fileno())


@pytest.mark.parametrize("kind", ["ext4", "ext2"])
def test_damage_anywhere_is_damage_and_nothing_else(tmp_path: Path, kind: str) -> None:
    """Bytes of the structures are changed at random: it reads on, or says that it cannot."""
    image, chance = make(tmp_path, *KINDS[kind]), random.Random(7)
    with image.open("rb") as file:
        volume = Volume(file.fileno())
        busy = [o for o in range(0, image.stat().st_size, 1024) if any(volume._at(o, 1024))]
    refused = 0
    for round_ in range(60):
        copy = tmp_path / f"copy-{round_}"
        shutil.copyfile(image, copy)
        with copy.open("r+b") as file:
            for _ in range(200):
                file.seek(chance.choice(busy[:200]) + chance.randrange(1024))
                file.write(bytes([chance.choice((0, 1, 255, chance.randrange(256)))]))
            file.flush()
            try:
                damaged = Volume(file.fileno())
                for count, (_, inode) in enumerate(walk(damaged)):
                    dict(attributes_of(damaged, inode))
                    if stat.S_ISREG(inode.mode):
                        list(damaged.runs(inode))
                    if count > 2000:
                        break
            except Damaged:
                refused += 1
            except RecursionError:
                pass  # this walk follows folders in circles; the extraction does not
        copy.unlink()
    assert refused > 10
