"""What is put into a guest's own root drive: found, packed and stamped as it should be."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from banger.drivers.guest import layer
from banger.drivers.guest.base import Identity, LayerTarget
from banger.drivers.guest.guest import LinuxGuest
from banger.drivers.guest.initrd import is_ours
from banger.errors import InvalidInput
from banger.host import cpio
from banger.host.ext_files import ExtFiles, NewFile, memory_file
from banger.model.network import Lease
from tests.requirements import needs

VERSION = "6.1.0-1-amd64"
NOW = 1_700_000_000


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """One kernel's modules as a package has them, with the links that lead to its sources."""
    folder = tmp_path / "package/lib/modules" / VERSION
    (folder / "kernel/drivers").mkdir(parents=True)
    (folder / "kernel/drivers/a.ko").write_bytes(b"module")
    (folder / "modules.dep").write_text("kernel/drivers/a.ko:\n")
    (folder / "build").symlink_to("/usr/src/linux")
    os.mkfifo(folder / "fifo")
    return folder


def test_a_modules_folder_is_found_at_each_level(modules: Path) -> None:
    for folder in (modules, modules.parent, modules.parents[2]):
        assert layer.versions_in(folder) == {VERSION: modules}


@pytest.mark.parametrize("name", ["", "lib", "nothing"])
def test_what_is_no_modules_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "lib").mkdir()
    with pytest.raises(InvalidInput, match="modules folder") as caught:
        layer.versions_in(tmp_path / name)
    assert caught.value.resolution
    with pytest.raises(InvalidInput, match="modules folder"):
        layer.versions_in(Path("relative"))


def test_the_archive_holds_files_alone_and_they_are_roots(modules: Path, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as file:
        layer.pack(modules, file.fileno())
    with tarfile.open(tmp_path / "out") as archive:
        found = {member.name: member for member in archive}
    assert set(found) == {
        f"{VERSION}{name}"
        for name in ("", "/kernel", "/kernel/drivers", "/kernel/drivers/a.ko", "/modules.dep")
    }
    assert {(m.uid, m.gid, m.mode) for m in found.values()} == {(0, 0, 0o755), (0, 0, 0o644)}


def test_the_stamp_changes_with_the_modules(modules: Path) -> None:
    first = layer.stamp_of(modules.parent)
    assert layer.stamp_of(modules) == first
    (modules / "kernel/drivers/a.ko").write_bytes(b"changed")
    assert layer.stamp_of(modules) != first


def test_an_initrd_is_ours_by_its_mark() -> None:
    ours = cpio.archive([cpio.folder("bin"), cpio.folder("banger"), cpio.file("init", b"x")])
    assert is_ours(ours)
    assert is_ours(ours[:300])
    others = (
        cpio.archive([cpio.folder("kernel"), cpio.file("kernel/x86/microcode", b"banger")]),
        cpio.archive([cpio.file(f"{n}", b"x") for n in range(20)] + [cpio.folder("banger")]),
        b"\x1f\x8b" + ours,
        b"070701" + b"x" * 200,
        ours[:50],
        b"",
    )
    for other in others:
        assert not is_ours(other)


def identity() -> Identity:
    lease = Lease("tap", "02:00:00:00:00:01", "10.0.0.2", 30, "10.0.0.1", "t", "10.0.0.2", 22)
    key = "ssh-ed25519 AAAA x"
    return Identity("web", "0" * 32, key, "private", key, lease, "standard")


@needs("e2fsprogs", "busybox")
async def test_everything_is_there_and_modules_only_once(modules: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.raw"
    image.touch(mode=0o600)
    os.truncate(image, 32 << 20)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", image], check=True)
    nobody = (65534, 65534) if os.geteuid() == 0 else None
    target = LayerTarget(image, tmp_path / "changing", modules, nobody)

    def listed() -> set[str]:
        argv = ["/usr/sbin/debugfs", "-R", "ls -p /.banger", str(image)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return {line.split("/")[5] for line in done.stdout.splitlines() if line} - {".", ".."}

    always = {"busybox", "init", "identity.cpio"}
    await LinuxGuest().write_layer(identity(), target)
    assert listed() == always | {"modules.tar", "modules.stamp"}
    # The guest has unpacked them: its script renames the stamp and removes the archive.
    descriptor = await memory_file("done", layer.stamp_of(modules).encode())
    guest = ExtFiles(image, layer.FOLDER, target.journal, nobody)
    await guest.write([NewFile("modules.done", descriptor)], ["modules.tar", "modules.stamp"])
    os.close(descriptor)
    await layer.write_layer(identity(), target, now=NOW)
    assert "modules.tar" not in listed()
    (modules / "kernel/drivers/b.ko").write_bytes(b"one more")
    await layer.write_layer(identity(), target, now=NOW)
    assert "modules.tar" in listed()
    subprocess.run(["/usr/sbin/e2fsck", "-f", "-n", image], check=True, capture_output=True)


def test_kernel_arguments_name_our_script() -> None:
    assert layer.ARGUMENT == "init=/.banger/init"
    assert layer.ARGUMENT in LinuxGuest().kernel_arguments("fast", layer=True)
    assert layer.ARGUMENT not in LinuxGuest().kernel_arguments("fast")
