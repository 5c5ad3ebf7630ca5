from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from banger.drivers.image import rootfs
from banger.drivers.image.digest import content_sha256
from banger.drivers.image.inodes import fix_inodes
from banger.drivers.image.overlay import EPOCH
from banger.errors import CorruptState, InvalidInput
from banger.host.command import run_blocking
from banger.model.image import ImageSpec
from tests.requirements import needs

MIB = 1024 * 1024
SPEC = ImageSpec("debian", "bookworm", ("systemd",), "0" * 64, 64 * MIB)


def make_tree(folder: Path, order: list[int]) -> Path:
    folder.mkdir()
    (folder / "sub").mkdir()
    for number in order:
        path = folder / "sub" / f"file{number}"
        path.write_bytes(bytes([number]) * 5000 * number)
        os.utime(path, (EPOCH - number, EPOCH - number))
    (folder / "link").symlink_to("sub/file1")
    os.link(folder / "sub/file2", folder / "hard")
    for path in (folder / "link", folder / "sub", folder):
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
    return folder


def make_image(tree: Path, image: Path) -> None:
    with image.open("xb") as file:
        file.truncate(SPEC.size_bytes)
    run_blocking(rootfs.format_command((), SPEC, tree, image))


def debugfs(image: Path, request: str) -> str:
    argv = ["debugfs", "-R", request, str(image)]
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "TZ": "UTC"}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
    return done.stdout


@needs("e2fsprogs")
def test_trees_made_in_another_order_give_the_same_image(tmp_path: Path) -> None:
    digests = set()
    for name, order in (("a", [1, 2, 3]), ("b", [3, 1, 2])):
        image = tmp_path / f"{name}.ext4"
        make_image(make_tree(tmp_path / name, order), image)
        assert fix_inodes(image, EPOCH) > 5
        digests.add(content_sha256(image))
    assert len(digests) == 1


@needs("e2fsprogs")
def test_times_of_change_are_fixed_and_of_content_kept(tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_image(make_tree(tmp_path / "tree", [1, 2, 7]), image)
    fix_inodes(image, EPOCH)
    shown = debugfs(image, "stat /sub/file7")
    times = {
        line.split(":")[0].strip(): line.split()[1] for line in shown.splitlines() if "0x" in line
    }
    assert times["ctime"] == times["atime"] == times["crtime"] == f"0x{EPOCH:08x}:00000000"
    assert times["mtime"] == f"0x{EPOCH - 7:08x}:00000000"
    assert "Generation: 0 " in shown


@needs("e2fsprogs")
def test_the_file_system_is_without_fault_and_guests_need_not_zero_it(tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_image(make_tree(tmp_path / "tree", [1, 2]), image)
    fix_inodes(image, EPOCH)
    run_blocking(rootfs.check_command(image))
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    argv = ["dumpe2fs", str(image)]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
    groups = [line for line in shown.stdout.splitlines() if re.match(r"Group \d", line)]
    assert groups
    assert all("ITABLE_ZEROED" in group for group in groups)


@pytest.mark.parametrize("content", [b"", b"text" * 1000])
def test_what_is_no_file_system(tmp_path: Path, content: bytes) -> None:
    image = tmp_path / "image"
    image.write_bytes(content)
    with pytest.raises(CorruptState):
        fix_inodes(image, EPOCH)


@needs("e2fsprogs")
def test_checksums_are_not_broken_silently(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("xb") as file:
        file.truncate(16 * MIB)
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    argv = ["mke2fs", "-q", "-t", "ext4", "-O", "metadata_csum", str(image)]
    subprocess.run(argv, check=True, capture_output=True, env=environment)
    with pytest.raises(CorruptState):
        fix_inodes(image, EPOCH)


@pytest.mark.parametrize("size", [0, -4096, 1, 511 * MIB, 8 * 1024 * MIB + 1, 1 << 50])
def test_sizes_that_cannot_be(size: int) -> None:
    with pytest.raises(InvalidInput):
        rootfs.check_size(size)


def test_identifiers_follow_from_the_spec() -> None:
    other = ImageSpec("debian", "bookworm", ("systemd", "git"), "0" * 64, 64 * MIB)
    same = ImageSpec("another-name", "bookworm", ("systemd",), "1" * 64, 64 * MIB)
    assert rootfs.identifier(SPEC, "filesystem") == rootfs.identifier(same, "filesystem")
    assert rootfs.identifier(SPEC, "filesystem") != rootfs.identifier(SPEC, "hash")
    assert rootfs.identifier(SPEC, "filesystem") != rootfs.identifier(other, "filesystem")
