from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from banger.drivers.storage import layer_file
from banger.drivers.storage.base import RootfsSpec
from banger.drivers.storage.copy import Copy
from banger.drivers.storage.qcow2 import Qcow2, create_command
from banger.drivers.storage.reflink import Reflink
from banger.errors import CorruptState, HostNotReady
from banger.host import files
from banger.host.extents import unshared_bytes


@pytest.fixture
def spec(tmp_path: Path) -> RootfsSpec:
    base = tmp_path / "rootfs.ext4"
    base.write_bytes(b"x" * 100_000)
    (tmp_path / "vm").mkdir()
    return RootfsSpec("0123456789ab", base, tmp_path / "vm", overlay_bytes=1 << 20)


def test_the_qcow2_command() -> None:
    command = create_command(Path("/base img"), Path("/new"))
    assert command.argv == (
        "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/base img", "/new",
    )  # fmt: skip
    assert command.package == "qemu-utils"


async def test_a_damaged_qcow2_layer_is_told(spec: RootfsSpec) -> None:
    (spec.directory / "overlay.qcow2").write_bytes(b"not a disk")
    with pytest.raises(CorruptState) as caught:
        await Qcow2(0).activate(spec)
    assert "is no qcow2 file" in caught.value.cause


async def test_a_qcow2_layer_without_its_image_is_told(spec: RootfsSpec) -> None:
    (spec.directory / "overlay.qcow2").write_bytes(b"QFI\xfb")
    spec.base.unlink()
    with pytest.raises(CorruptState) as caught:
        await Qcow2(0).activate(spec)
    assert "rootfs.ext4 is missing" in caught.value.cause


async def test_a_refused_clone_names_the_other_drivers(
    spec: RootfsSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "clone_file", lambda source, target: False)
    with pytest.raises(HostNotReady) as caught:
        await Reflink(0).prepare(spec)
    assert "--storage" in caught.value.resolution
    assert list(spec.directory.iterdir()) == []


async def test_a_cancelled_copy_ends_its_thread(
    spec: RootfsSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    sendfile = os.sendfile

    def slow(target: int, source: int, offset: int, count: int) -> int:
        begun.set()
        return sendfile(target, source, offset, 1)

    monkeypatch.setattr(os, "sendfile", slow)
    task = asyncio.create_task(Copy(0).prepare(spec))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(spec.directory.iterdir()) == []


def test_space_is_demanded_in_words(tmp_path: Path) -> None:
    layer_file.require_space(tmp_path, 1)
    with pytest.raises(HostNotReady) as caught:
        layer_file.require_space(tmp_path, 1 << 62)
    assert caught.value.cause.startswith("4398046511104 MiB are needed and ")


def test_an_unshared_file_counts_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert unshared_bytes(path) == 0
    path.write_bytes(os.urandom(1 << 20))
    os.sync()
    assert unshared_bytes(path) == files.allocated_bytes(path)
