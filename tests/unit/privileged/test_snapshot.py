from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

from banger.privileged import callers_files, checks, device_mapper, execute, loop, snapshot
from banger.privileged.calls import (
    CallFailed,
    SnapshotAttach,
    SnapshotDetach,
    SnapshotProbe,
    TapFacts,
    call_from_json,
    call_to_json,
)
from banger.privileged.device_mapper import Device

ID, OTHER = "0123456789ab", "ba9876543210"
UID = os.geteuid()
NAME, UUID = f"banger-{UID}-{ID}", f"BANGER-{UID}-{ID}"
HEAD = b"SnAp" + b"".join(number.to_bytes(4, "little") for number in (1, 1, 8))


class Kernel:
    """Device-mapper and the loop driver, as far as the root side sees them."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.below: dict[str, set[int]] = {}
        self.loops: dict[tuple[int, int], loop.Loop] = {}
        self.tables: list[tuple[int, str, str]] = []
        self.busy = 0
        self.given: list[tuple[str, int]] = []
        self.grown: list[int] = []
        self.state = "0/16 16"

    def find(self, name: str = "", uuid: str = "") -> Device | None:
        return next((d for d in self.devices.values() if name == d.name or uuid == d.uuid), None)

    def create(self, name: str, uuid: str) -> None:
        self.devices[uuid] = Device(name, uuid, 254 << 8, 0, active=False, deferred=False)

    def load(self, uuid: str, sectors: int, target: str, parameters: str) -> None:
        self.tables.append((sectors, target, parameters))
        numbers = (word.split(":") for word in parameters.split()[:2])
        self.below[uuid] = {os.makedev(int(major), int(minor)) for major, minor in numbers}
        self.devices[uuid] = self.devices[uuid].replaced(active=True)

    def remove(self, uuid: str, *, deferred: bool = False) -> None:
        if uuid not in self.devices:
            raise OSError(errno.ENXIO, "no such device")
        if self.busy > 0:
            self.busy -= 1
            if not deferred:
                raise OSError(errno.EBUSY, "busy")
            self.devices[uuid] = self.devices[uuid].replaced(deferred=True)
            return
        del self.devices[uuid]

    def keep(self, uuid: str) -> None:
        self.devices[uuid] = self.devices[uuid].replaced(deferred=False)

    def attach(self, file: int, tag: str, *, read_only: bool) -> loop.Loop:
        status = os.fstat(file)
        key = (status.st_dev, status.st_ino)
        if key not in self.loops:
            number = os.makedev(7, len(self.loops))
            self.loops[key] = FakeLoop(file, number, status.st_size // 512, self.grown)
        return self.loops[key].replaced(descriptor=os.dup(file))

    def give(self, device: Device, caller: int) -> None:
        self.given.append((device.name, caller))


class FakeLoop(loop.Loop):
    size: int
    grown: list[int]

    def sectors(self) -> int:
        return self.size

    def take_size_of_file(self) -> None:
        self.grown.append(os.fstat(self.descriptor).st_size)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    for name in ("find", "create", "load", "remove", "keep"):
        monkeypatch.setattr(device_mapper, name, getattr(made, name))
    monkeypatch.setattr(device_mapper, "depends_on", lambda uuid: made.below[uuid])
    monkeypatch.setattr(device_mapper, "status", lambda _uuid: made.state)
    monkeypatch.setattr(loop, "attach", made.attach)
    monkeypatch.setattr(snapshot, "_give", made.give)
    monkeypatch.setattr(snapshot, "_PAUSE", 0.0)
    return made


@pytest.fixture
def call(tmp_path: Path) -> SnapshotAttach:
    folder = tmp_path / ID
    folder.mkdir()
    image, layer = tmp_path / "rootfs.ext4", folder / "root.cow"
    image.write_bytes(bytes(1 << 20))
    layer.write_bytes(HEAD)
    os.truncate(layer, 1 << 20)
    return SnapshotAttach(ID, str(image), str(layer))


def do(call: SnapshotAttach | SnapshotDetach) -> TapFacts:
    return execute.perform([call], UID)[0]


def test_a_device_is_made_once_and_removed(kernel: Kernel, call: SnapshotAttach) -> None:
    assert do(call) == do(call) == TapFacts(NAME, 254 << 8, UUID)
    assert kernel.tables == [(2048, "snapshot", "7:0 7:1 P 8")]
    assert kernel.given == [(NAME, UID)] * 2
    assert do(SnapshotDetach(ID)) == do(SnapshotDetach(ID)) == TapFacts(NAME, 0, "")


def test_a_layer_that_grew_is_taken_up(kernel: Kernel, call: SnapshotAttach) -> None:
    do(call)
    os.truncate(call.layer, 2 << 20)
    do(call)
    assert kernel.grown == [2 << 20]
    assert len(kernel.tables) == 1


def test_a_device_that_a_crash_left_without_a_table_is_finished(
    kernel: Kernel, call: SnapshotAttach
) -> None:
    kernel.create(NAME, UUID)
    do(call)
    assert len(kernel.tables) == 1


@pytest.mark.parametrize("uuid", ["", "LVM-something", f"BANGER-{UID + 1}-{ID}"])
def test_a_foreign_device_is_left_alone(kernel: Kernel, call: SnapshotAttach, uuid: str) -> None:
    kernel.create(NAME, uuid)
    for wanted in (call, SnapshotDetach(ID)):
        with pytest.raises(CallFailed, match=NAME) as caught:
            do(wanted)
        assert caught.value.reason == "foreign"
    assert kernel.devices[uuid].uuid == uuid
    assert not kernel.tables


def test_a_renamed_device_is_left_alone(kernel: Kernel, call: SnapshotAttach) -> None:
    kernel.create("elsewhere", UUID)
    with pytest.raises(CallFailed, match="elsewhere"):
        do(call)


def test_a_replaced_layer_gets_a_new_device_unless_the_old_one_is_in_use(
    kernel: Kernel, call: SnapshotAttach
) -> None:
    do(call)
    layer = Path(call.layer)
    layer.rename(layer.with_name("old"))
    layer.write_bytes(HEAD)
    os.truncate(layer, 1 << 20)
    do(call)
    assert [table[2] for table in kernel.tables] == ["7:0 7:1 P 8", "7:0 7:2 P 8"]
    kernel.devices[UUID] = kernel.devices[UUID].replaced(open_count=1)
    layer.rename(layer.with_name("older"))
    layer.write_bytes(HEAD)
    os.truncate(layer, 1 << 20)
    with pytest.raises(CallFailed, match="in use"):
        do(call)
    assert UUID in kernel.devices


def test_a_snapshot_that_the_kernel_gave_up_leaves_nothing(
    kernel: Kernel, call: SnapshotAttach
) -> None:
    kernel.state = "Invalid"
    with pytest.raises(CallFailed, match="invalid"):
        do(call)
    assert not kernel.devices


def test_a_busy_device_is_tried_again_and_in_the_end_goes_with_its_user(
    kernel: Kernel, call: SnapshotAttach, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(call)
    kernel.busy = 3
    assert do(SnapshotDetach(ID)).index == 0
    do(call)
    kernel.busy = 1 << 30
    monkeypatch.setattr(snapshot, "_PATIENCE", 0.01)
    assert do(SnapshotDetach(ID)).index
    assert kernel.devices[UUID].deferred
    do(call)
    assert not kernel.devices[UUID].deferred


@pytest.mark.parametrize(
    "content",
    [b"", b"SnAp", bytes(1 << 20), HEAD, HEAD + bytes(1 << 20) + b"x",
     b"SnAp" + bytes(12) + bytes((1 << 20) - 16)],
)  # fmt: skip
def test_what_is_no_whole_layer_is_refused(
    kernel: Kernel, call: SnapshotAttach, content: bytes
) -> None:
    Path(call.layer).write_bytes(content)
    with pytest.raises(CallFailed) as caught:
        do(call)
    assert caught.value.reason == "refused"
    assert not kernel.devices
    assert not kernel.loops


@pytest.mark.parametrize(
    ("image", "layer"),
    [
        ("rootfs", f"/v/{ID}/c"), ("/a//b", f"/v/{ID}/c"), ("/a/../b", f"/v/{ID}/c"),
        ("/", f"/v/{ID}/c"), ("", f"/v/{ID}/c"), ("/a\0b", f"/v/{ID}/c"), ("/a/.", f"/v/{ID}/c"),
        ("/" + "a/" * 3000 + "a", f"/v/{ID}/c"), ("/i", f"/v/{OTHER}/c"), ("/i", "/c"),
        ("/i", f"/v/{ID}/"), ("/i", f"/v/{ID}/x/c"),
    ],
)  # fmt: skip
def test_odd_paths_and_layers_of_other_vms_are_refused(image: str, layer: str) -> None:
    with pytest.raises(CallFailed) as caught:
        checks.check(SnapshotAttach(ID, image, layer), UID)
    assert caught.value.reason == "refused"


@pytest.mark.parametrize("vm_id", ["", "x", ID + "\n", ID.upper(), f"../{ID}", ID + "0"])
def test_odd_ids_are_refused(vm_id: str) -> None:
    for call in (SnapshotAttach(vm_id, "/i", f"/v/{vm_id}/c"), SnapshotDetach(vm_id)):
        with pytest.raises(CallFailed):
            checks.check(call, UID)


@pytest.mark.parametrize(
    "call", [SnapshotProbe(), SnapshotDetach(ID), SnapshotAttach(ID, "/a", "/b")]
)
def test_the_form_on_the_wire(call: SnapshotProbe) -> None:
    assert call_from_json(call_to_json(call)) == call


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "way").symlink_to(tmp_path / "folder")
    os.mkfifo(tmp_path / "fifo")
    names = ("link", "fifo", "folder", "none", "way/file", "real/deeper")
    for name, writable in itertools.product(names, (True, False)):
        with pytest.raises(CallFailed) as caught:
            callers_files.open_file(str(tmp_path / name), UID, writable=writable)
        assert caught.value.reason == "refused"
    os.close(callers_files.open_file(str(real), UID, writable=True))
    (tmp_path / "second name").hardlink_to(real)
    with pytest.raises(CallFailed, match="2 names"):
        callers_files.open_file(str(real), UID, writable=True)
    os.close(callers_files.open_file(str(real), UID, writable=False))


def test_the_number_of_device_mapper_is_read() -> None:
    assert device_mapper._minor("237 loop-control\n236 device-mapper\n") == 236
    assert device_mapper._minor("237 loop-control\n") is None
