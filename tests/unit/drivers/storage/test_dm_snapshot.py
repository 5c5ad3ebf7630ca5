from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from banger.drivers.storage import exception_store
from banger.drivers.storage.base import RootfsSpec
from banger.drivers.storage.dm_snapshot import DmSnapshot
from banger.errors import CorruptState
from banger.privileged.calls import Call, TapFacts
from tests.fakes.snapshots import FakeSnapshots

VM, MIB = "0123456789ab", 1 << 20


@pytest.fixture
def root_side(tmp_path: Path) -> FakeSnapshots:
    return FakeSnapshots(tmp_path / "host", uid=1000)


@pytest.fixture
def store(root_side: FakeSnapshots) -> DmSnapshot:
    return DmSnapshot(0, root_side, 1000, sys_block=root_side.sys, dev=root_side.dev)


@pytest.fixture
def spec(tmp_path: Path) -> RootfsSpec:
    base = tmp_path / "rootfs.ext4"
    base.write_bytes(b"x" * 4 * MIB)
    (tmp_path / VM).mkdir()
    return RootfsSpec(VM, base, tmp_path / VM, overlay_bytes=8 * MIB)


@pytest.mark.parametrize("chunks", [0, 1, 255, 256, 257, 512, 1000])
async def test_what_is_used_is_counted_to_the_chunk(
    store: DmSnapshot, root_side: FakeSnapshots, spec: RootfsSpec, chunks: int
) -> None:
    await store.prepare(spec)
    drive = await store.activate(spec)
    root_side.write(drive.path, 0, b"y" * 4096 * chunks)
    # The kernel counts so as well: head, areas begun, and what was changed.
    assert store.usage(spec).used_bytes == (1 + chunks // 256 + 1 + chunks) * 4096
    assert store.usage(spec).limit_bytes == 8 * MIB


async def test_a_layer_that_grew_under_a_device_is_taken_up(
    store: DmSnapshot, spec: RootfsSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare(spec)
    calls: list[object] = []
    real = FakeSnapshots.call

    async def call(self: FakeSnapshots, batch: Sequence[Call]) -> list[TapFacts]:
        calls.extend(batch)
        return await real(self, batch)

    monkeypatch.setattr(FakeSnapshots, "call", call)
    larger = RootfsSpec(VM, spec.base, spec.directory, 16 * MIB)
    await store.grow(larger)
    assert not calls
    await store.activate(larger)
    await store.grow(RootfsSpec(VM, spec.base, spec.directory, 32 * MIB))
    assert len(calls) == 2
    assert store.usage(larger).limit_bytes == 32 * MIB


@pytest.mark.parametrize(
    ("at", "byte", "cause"),
    [(0, b"\0", "head is damaged"), (4, b"\0", "gave it up"), (8, b"\2", "version 2"),
     (12, b"\x10", "chunks of 16")],
)  # fmt: skip
async def test_a_layer_that_cannot_be_used_is_told(
    store: DmSnapshot, spec: RootfsSpec, at: int, byte: bytes, cause: str
) -> None:
    await store.prepare(spec)
    with store.path(spec).open("r+b") as file:
        file.seek(at)
        file.write(byte)
    with pytest.raises(CorruptState) as caught:
        await store.activate(spec)
    assert cause in caught.value.cause
    assert "banger vm rebuild" in caught.value.resolution


async def test_a_lost_layer_says_what_is_lost(store: DmSnapshot, spec: RootfsSpec) -> None:
    with pytest.raises(CorruptState) as caught:
        await store.activate(spec)
    assert "all that the VM has written" in caught.value.cause


async def test_a_lost_image_is_told(store: DmSnapshot, spec: RootfsSpec) -> None:
    await store.prepare(spec)
    spec.base.unlink()
    with pytest.raises(CorruptState) as caught:
        await store.activate(spec)
    assert "rootfs.ext4 is missing" in caught.value.cause


async def test_a_vm_that_never_ran_is_removed_without_root(
    store: DmSnapshot, spec: RootfsSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare(spec)
    monkeypatch.delattr(FakeSnapshots, "call")
    await store.remove(spec)
    assert not list(spec.directory.iterdir())


def test_a_layer_cut_short_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "root.cow"
    exception_store.make_empty(path, MIB)
    os.truncate(path, 5000)
    assert exception_store.used_bytes(path) == 2 * 4096
    assert exception_store.used_bytes(tmp_path / "none") == 0


def test_a_layer_that_leads_outside_is_not_written_over(tmp_path: Path) -> None:
    """Its entries are read from a file: none may reach beyond the drive or the file's end."""
    layer, drive = tmp_path / "root.cow", tmp_path / "flat"
    for entry in ((99, 2), (0, 1 << 40)):
        exception_store.make_empty(layer, MIB)
        with layer.open("r+b") as file:
            file.seek(4096)
            file.write(struct.pack("<QQ", *entry))
        drive.write_bytes(bytes(3 * 4096))
        with pytest.raises(OSError, match="leads nowhere"):
            exception_store.write_over(layer, drive)
        assert drive.read_bytes() == bytes(3 * 4096)


def test_the_last_chunk_may_be_less_than_a_whole_one(tmp_path: Path) -> None:
    layer, drive = tmp_path / "root.cow", tmp_path / "flat"
    exception_store.make_empty(layer, MIB)
    with layer.open("r+b") as file:
        file.seek(4096)
        file.write(struct.pack("<QQ", 1, 2))
        file.seek(2 * 4096)
        file.write(b"x" * 4096)
    drive.write_bytes(bytes(4096 + 512))
    exception_store.write_over(layer, drive)
    assert drive.read_bytes() == bytes(4096) + b"x" * 512
