"""What every storage driver promises, tried on each real one."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.storage import layer_file
from banger.drivers.storage.base import RootfsSpec, RootfsStore
from banger.drivers.storage.copy import Copy
from banger.drivers.storage.dm_snapshot import DmSnapshot
from banger.drivers.storage.qcow2 import Qcow2
from banger.drivers.storage.reflink import Reflink
from banger.errors import BangerError, CorruptState, HostNotReady
from banger.host import files
from banger.host.command import Command, run_blocking
from banger.host.privilege import Privilege
from banger.model.operation import Presence
from banger.model.storage import Drive
from tests.fakes.snapshots import FakeSnapshots
from tests.requirements import needs

MIB = 1024 * 1024
BASE_BYTES = 16 * MIB
DATA = os.urandom(3 * MIB)

Make = Callable[[int], RootfsStore]
VM, OTHER = "0123456789ab", "ba9876543210"


class Snapshots(DmSnapshot):
    """The driver over the real device-mapper."""

    def __init__(self, min_free_bytes: int) -> None:
        super().__init__(min_free_bytes, Privilege(), os.geteuid())


class FakedSnapshots(DmSnapshot):
    """The driver over a root side whose devices are files."""

    def __init__(self, min_free_bytes: int) -> None:
        root = Path(tempfile.mkdtemp(prefix="banger-snapshots-"))
        weakref.finalize(self, shutil.rmtree, root)
        fake, uid = FakeSnapshots(root, os.geteuid()), os.geteuid()
        super().__init__(min_free_bytes, fake, uid, sys_block=fake.sys, dev=fake.dev)


@pytest.fixture(
    params=[
        pytest.param(Qcow2, id="qcow2", marks=needs("qemu-img")),
        pytest.param(Copy, id="copy"),
        pytest.param(Reflink, id="reflink"),
        pytest.param(Snapshots, id="dm_snapshot", marks=needs("dm")),
        pytest.param(FakedSnapshots, id="dm_snapshot-faked"),
    ]
)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def folder(make: Make, tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that suits the driver."""
    if make is not Reflink or files.can_clone(tmp_path):
        yield tmp_path
        return
    if os.geteuid() != 0:
        pytest.skip("this file system cannot clone files, and only root can mount one that can")
    disk, mounted = tmp_path / "xfs.img", tmp_path / "xfs"
    mounted.mkdir()
    disk.touch()
    os.truncate(disk, 512 * MIB)
    try:
        run_blocking(Command(("mkfs.xfs", "-q", str(disk)), package="xfsprogs"))
        run_blocking(Command(("mount", "-o", "loop", str(disk), str(mounted))))
    except BangerError as error:
        pytest.skip(f"no file system that can clone files: {error.brief}: {error.cause}")
    yield mounted
    run_blocking(Command(("umount", str(mounted))))


@pytest.fixture
def spec(folder: Path) -> RootfsSpec:
    base = folder / "rootfs.ext4"
    with base.open("wb") as file:
        file.seek(MIB)
        file.write(DATA)
        file.truncate(BASE_BYTES)
    base.chmod(0o400)
    directory = folder / "a folder, with odd:characters" / VM
    directory.mkdir(parents=True)
    return RootfsSpec(VM, base, directory, overlay_bytes=8 * MIB)


@pytest.fixture
async def store(make: Make, spec: RootfsSpec) -> AsyncIterator[RootfsStore]:
    made = make(0)
    yield made
    for vm_id in (VM, OTHER):
        await made.deactivate(structs.replace(spec, vm_id=vm_id))


def layer_of(store: RootfsStore, spec: RootfsSpec) -> Path:
    assert isinstance(store, layer_file.LayerFile)
    return store.path(spec)


def keeps_its_size(store: RootfsStore) -> bool:
    """Whether a drive is as large as the image, however much its layer may take."""
    return isinstance(store, DmSnapshot)


def content(spec: RootfsSpec) -> dict[str, tuple[int, int]]:
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in spec.directory.iterdir()
    }


def raw(drive: Drive, folder: Path) -> Path:
    """A file with what a guest sees of the drive."""
    if drive.format != "qcow2":
        return drive.path
    seen = folder / "seen.raw"
    convert = ("qemu-img", "convert", "-O", "raw", str(drive.path), str(seen))
    run_blocking(Command(convert, package="qemu-utils"))
    return seen


def write(drive: Drive, at: int, byte: int) -> None:
    """What a guest would: 2 MiB of ``byte`` at the MiB ``at``."""
    if drive.format == "qcow2":
        command = f"write -P {byte} {at}M 2M"
        argv = ("qemu-io", "-f", "qcow2", "-c", command, str(drive.path))
        run_blocking(Command(argv, package="qemu-utils"))
        return
    fake = FakeSnapshots.of_device.get(drive.path)
    if fake is not None:
        fake.write(drive.path, at * MIB, bytes((byte,)) * 2 * MIB)
        return
    with drive.path.open("r+b") as file:
        file.seek(at * MIB)
        file.write(bytes((byte,)) * 2 * MIB)
        os.fsync(file.fileno())


async def test_life_of_a_layer(store: RootfsStore, spec: RootfsSpec) -> None:
    assert store.probe(spec) is Presence.ABSENT
    assert store.usage(spec).used_bytes == 0
    await store.prepare(spec)
    assert store.probe(spec) is Presence.OURS
    drive = await store.activate(spec)
    assert await store.activate(spec) == drive
    assert (drive.id, drive.read_only) == ("root", False)
    layer = layer_of(store, spec)
    assert keeps_its_size(store) or drive.path == layer
    assert layer.parent == spec.directory
    assert stat.S_IMODE(layer.stat().st_mode) == 0o600
    assert drive.base == (spec.base if drive.format == "qcow2" else None)
    await store.deactivate(spec)
    await store.deactivate(spec)
    assert store.probe(spec) is Presence.OURS
    await store.remove(spec)
    await store.remove(spec)
    assert store.probe(spec) is Presence.ABSENT
    assert content(spec) == {}
    assert spec.base.stat().st_size == BASE_BYTES


async def test_the_guest_sees_the_base(
    store: RootfsStore, spec: RootfsSpec, tmp_path: Path
) -> None:
    await store.prepare(spec)
    drive = await store.activate(spec)
    seen = raw(drive, tmp_path)
    with seen.open("rb") as file:
        assert file.seek(0, 2) == BASE_BYTES
        file.seek(MIB)
        assert file.read(len(DATA)) == DATA


async def test_a_layer_takes_no_room_that_it_need_not(store: RootfsStore, spec: RootfsSpec) -> None:
    before = files.free_bytes(spec.directory)
    await store.prepare(spec)
    usage = store.usage(spec)
    most = 4 * MIB if store.name == "copy" else MIB
    assert usage.used_bytes <= most
    assert before - files.free_bytes(spec.directory) <= most + 8 * MIB  # others write, too
    assert usage.limit_bytes == (BASE_BYTES if store.name == "copy" else spec.overlay_bytes)


async def test_writes_are_counted_and_leave_the_base_alone(
    store: RootfsStore, spec: RootfsSpec
) -> None:
    await store.prepare(spec)
    drive = await store.activate(spec)
    before = store.usage(spec).used_bytes
    write(drive, 8, 7)
    assert 2 * MIB <= store.usage(spec).used_bytes - before <= 3 * MIB
    with spec.base.open("rb") as file:
        file.seek(8 * MIB)
        assert file.read(2 * MIB) == bytes(2 * MIB)


async def test_a_second_prepare_keeps_what_the_vm_wrote(
    store: RootfsStore, spec: RootfsSpec
) -> None:
    await store.prepare(spec)
    before = content(spec)
    await store.prepare(spec)
    assert content(spec) == before


async def test_remains_of_a_crash_are_replaced(store: RootfsStore, spec: RootfsSpec) -> None:
    await store.prepare(spec)
    await store.activate(spec)
    layer = layer_of(store, spec)
    remains = layer_file.temporary_of(layer)
    layer.rename(remains)
    with remains.open("r+b") as file:
        file.write(b"garbage")
    assert store.probe(spec) is Presence.ABSENT
    await store.prepare(spec)
    assert not remains.exists()
    await store.activate(spec)
    remains.touch()
    await store.remove(spec)
    assert content(spec) == {}


async def test_short_space_is_told_with_numbers(make: Make, spec: RootfsSpec) -> None:
    with pytest.raises(HostNotReady, match="not enough disk space") as caught:
        await make(1 << 60).prepare(spec)
    assert f"{(1 << 60) // MIB}" in caught.value.cause or "MiB are needed" in caught.value.cause
    assert "MiB are free" in caught.value.cause
    assert content(spec) == {}


async def test_a_lost_layer_is_told(store: RootfsStore, spec: RootfsSpec) -> None:
    await store.prepare(spec)
    await store.activate(spec)
    layer_of(store, spec).unlink()
    with pytest.raises(CorruptState, match="0123456789ab is gone"):
        await store.activate(spec)


async def test_a_missing_base_leaves_nothing(store: RootfsStore, spec: RootfsSpec) -> None:
    spec.base.unlink()
    with pytest.raises(BangerError):
        await store.prepare(spec)
    assert content(spec) == {}


async def test_something_foreign_is_not_ours(store: RootfsStore, spec: RootfsSpec) -> None:
    await store.prepare(spec)
    await store.activate(spec)
    path = layer_of(store, spec)
    path.unlink()
    path.symlink_to(spec.base)
    assert store.probe(spec) is Presence.FOREIGN
    with pytest.raises(CorruptState):
        await store.activate(spec)


async def test_a_cancelled_prepare_leaves_nothing(store: RootfsStore, spec: RootfsSpec) -> None:
    with spec.base.open("rb"):
        task = asyncio.create_task(store.prepare(spec))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    if task.cancelled():
        assert content(spec) == {}
    else:
        assert store.probe(spec) is Presence.OURS


async def test_a_layer_grows_and_keeps_its_content(
    store: RootfsStore, spec: RootfsSpec, tmp_path: Path
) -> None:
    await store.prepare(spec)
    write(await store.activate(spec), 8, 7)
    await store.deactivate(spec)
    used = store.usage(spec).used_bytes
    larger = structs.replace(spec, overlay_bytes=64 * MIB + 1)
    await store.grow(larger)
    await store.grow(larger)
    await store.grow(spec)  # never smaller again
    assert store.usage(larger).limit_bytes >= 64 * MIB
    assert store.usage(larger).used_bytes <= used + MIB
    drive = await store.activate(larger)
    with raw(drive, tmp_path).open("rb") as file:
        size = BASE_BYTES if keeps_its_size(store) else 64 * MIB + 4096
        assert file.seek(0, 2) == size
        file.seek(MIB)
        assert file.read(len(DATA)) == DATA
        file.seek(8 * MIB)
        assert file.read(2 * MIB) == b"\7" * 2 * MIB
    write(drive, size // MIB - 4, 3)


async def test_a_new_layer_has_the_room_that_was_asked_for(
    store: RootfsStore, spec: RootfsSpec, tmp_path: Path
) -> None:
    await store.prepare(structs.replace(spec, overlay_bytes=64 * MIB))
    drive = await store.activate(spec)
    with raw(drive, tmp_path).open("rb") as file:
        assert file.seek(0, 2) == (BASE_BYTES if keeps_its_size(store) else 64 * MIB)
    assert store.usage(spec).limit_bytes >= 64 * MIB or store.name != "dm_snapshot"


async def test_a_lost_layer_neither_grows_nor_is_copied(
    store: RootfsStore, spec: RootfsSpec
) -> None:
    for work in (store.grow(spec), store.copy(spec, spec)):
        with pytest.raises(CorruptState, match="0123456789ab is gone"):
            await work
    assert content(spec) == {}


async def test_a_copy_is_its_own(store: RootfsStore, spec: RootfsSpec, tmp_path: Path) -> None:
    await store.prepare(spec)
    write(await store.activate(spec), 8, 7)
    await store.deactivate(spec)
    directory = spec.directory.with_name(OTHER)
    directory.mkdir()
    other = structs.replace(spec, vm_id=OTHER, directory=directory)
    await store.copy(spec, other)
    before = content(other)
    await store.copy(spec, other)
    assert content(other) == before
    drive = await store.activate(other)
    assert stat.S_IMODE(layer_of(store, other).stat().st_mode) == 0o600
    write(await store.activate(spec), 8, 9)
    with raw(drive, tmp_path).open("rb") as file:
        file.seek(MIB)
        assert file.read(len(DATA)) == DATA
        file.seek(8 * MIB)
        assert file.read(2 * MIB) == b"\7" * 2 * MIB


async def test_short_space_stops_a_copy(
    make: Make, store: RootfsStore, spec: RootfsSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare(spec)
    monkeypatch.setattr(files, "clone_file", lambda _source, _target: False)
    directory = spec.directory.with_name(OTHER)
    directory.mkdir()
    other = structs.replace(spec, vm_id=OTHER, directory=directory)
    with pytest.raises(HostNotReady, match="not enough disk space"):
        await make(1 << 60).copy(spec, other)
    assert content(other) == {}


async def test_a_flat_file_holds_base_and_layer(
    store: RootfsStore, spec: RootfsSpec, tmp_path: Path
) -> None:
    await store.prepare(spec)
    drive = await store.activate(spec)
    write(drive, 8, 7)
    write(drive, 2, 5)
    size = raw(drive, tmp_path).stat().st_size
    if keeps_its_size(store):
        size = BASE_BYTES
    await store.deactivate(spec)
    target = spec.directory.with_name("flat.ext4")
    target.write_bytes(b"remains")
    await store.flatten(spec, target)
    assert (target.stat().st_size, stat.S_IMODE(target.stat().st_mode)) == (size, 0o600)
    assert files.allocated_bytes(target) <= 8 * MIB
    expected = bytearray(MIB) + bytearray(DATA)
    expected[2 * MIB : 4 * MIB] = b"\5" * 2 * MIB
    expected = expected.ljust(8 * MIB, b"\0") + b"\7" * 2 * MIB
    assert target.read_bytes()[: len(expected)] == expected
    with spec.base.open("rb") as file:
        file.seek(8 * MIB)
        assert file.read(2 * MIB) == bytes(2 * MIB)
    with target.open("r+b") as file:
        file.write(b"own")
    drive = await store.activate(spec)
    with raw(drive, tmp_path).open("rb") as file:
        assert file.read(3) == bytes(3)


async def test_a_lost_layer_is_not_flattened(store: RootfsStore, spec: RootfsSpec) -> None:
    target = spec.directory.with_name("flat.ext4")
    with pytest.raises(CorruptState, match="0123456789ab is gone"):
        await store.flatten(spec, target)
    assert not target.exists()


async def test_short_space_stops_flattening(
    make: Make, store: RootfsStore, spec: RootfsSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare(spec)
    monkeypatch.setattr(files, "clone_file", lambda _source, _target: False)
    target = spec.directory.with_name("flat.ext4")
    with pytest.raises(HostNotReady, match="not enough disk space"):
        await make(1 << 60).flatten(spec, target)
    assert not target.exists()
