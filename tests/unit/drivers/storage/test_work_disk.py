from __future__ import annotations

import stat
from pathlib import Path

import pytest

from banger.drivers.storage.work_disk import WorkDisks, check_command, resize_command
from banger.errors import CorruptState, HostNotReady, InvalidInput
from banger.host.command import Command, run_blocking
from banger.model.operation import Presence
from banger.model.storage import DiskUsage
from tests.requirements import needs

MIB = 1024 * 1024

pytestmark = needs("e2fsprogs")


def filesystem_bytes(path: Path) -> int:
    listing = run_blocking(Command(("dumpe2fs", "-h", str(path)))).text
    fields = dict(line.split(":", 1) for line in listing.splitlines() if ":" in line)
    assert fields["Filesystem volume name"].strip() == "work"
    return int(fields["Block count"]) * int(fields["Block size"])


async def test_life_of_a_work_disk(tmp_path: Path) -> None:
    disks = WorkDisks(0)
    assert disks.probe(tmp_path) is Presence.ABSENT
    assert disks.usage(tmp_path) == DiskUsage(0, 0)
    await disks.prepare(tmp_path, 64 * MIB)
    drive = disks.drive(tmp_path)
    assert (drive.id, drive.format, drive.path.name) == ("work", "raw", "work.raw")
    assert stat.S_IMODE(drive.path.stat().st_mode) == 0o600
    assert filesystem_bytes(drive.path) == 64 * MIB
    usage = disks.usage(tmp_path)
    assert usage.limit_bytes == 64 * MIB
    assert 0 < usage.used_bytes < 4 * MIB
    inode = drive.path.stat().st_ino
    await disks.prepare(tmp_path, 64 * MIB)
    assert drive.path.stat().st_ino == inode
    await disks.grow(tmp_path, 96 * MIB)
    await disks.grow(tmp_path, 96 * MIB)
    assert filesystem_bytes(drive.path) == 96 * MIB
    run_blocking(Command(("e2fsck", "-fn", str(drive.path))))
    await disks.remove(tmp_path)
    await disks.remove(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_crash_between_file_and_file_system_is_mended(tmp_path: Path) -> None:
    disks = WorkDisks(0)
    await disks.prepare(tmp_path, 64 * MIB)
    with disks.path(tmp_path).open("r+b") as file:
        file.truncate(80 * MIB)
    await disks.grow(tmp_path, 80 * MIB)
    assert filesystem_bytes(disks.path(tmp_path)) == 80 * MIB


async def test_a_copy_is_a_disk_of_its_own(tmp_path: Path) -> None:
    disks = WorkDisks(0)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with pytest.raises(CorruptState):
        await disks.copy(source, target)
    await disks.prepare(source, 64 * MIB)
    await disks.copy(source, target)
    await disks.copy(source, target)
    assert disks.path(source).stat().st_ino != disks.path(target).stat().st_ino
    assert stat.S_IMODE(disks.path(target).stat().st_mode) == 0o600
    assert 0 < disks.usage(target).used_bytes < 4 * MIB
    await disks.grow(target, 96 * MIB)
    assert filesystem_bytes(disks.path(target)) == 96 * MIB
    assert filesystem_bytes(disks.path(source)) == 64 * MIB
    assert [path.name for path in target.iterdir()] == ["work.raw"]


async def test_a_work_disk_never_shrinks(tmp_path: Path) -> None:
    disks = WorkDisks(0)
    await disks.prepare(tmp_path, 64 * MIB)
    with pytest.raises(InvalidInput, match="cannot become smaller"):
        await disks.grow(tmp_path, 32 * MIB)


async def test_short_space_and_a_lost_disk_are_told(tmp_path: Path) -> None:
    with pytest.raises(HostNotReady):
        await WorkDisks(1 << 62).prepare(tmp_path, 64 * MIB)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CorruptState):
        WorkDisks(0).drive(tmp_path)
    with pytest.raises(CorruptState):
        await WorkDisks(0).grow(tmp_path, 64 * MIB)


def test_a_repaired_file_system_is_no_failure() -> None:
    assert check_command(Path("/x")).ok_statuses == (0, 1)
    assert resize_command(Path("/x")).argv == ("resize2fs", "/x")
