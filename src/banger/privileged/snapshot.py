"""A VM's root drive: device-mapper's ``snapshot`` of the image, over the VM's own layer.

The image is under one read-only loop device that all VMs of a user share, the layer under a
writable one. Both go by themselves when the last table that uses them goes, so the order of the
clean-up is the kernel's: VMM, device, loops. Found things prove whose they are: the device by
its uuid, the loops by their tag and by device and inode of their file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from banger.privileged import callers_files, device_mapper, loop
from banger.privileged.calls import (
    CallFailed,
    SnapshotAttach,
    SnapshotCall,
    SnapshotDetach,
    SnapshotProbe,
    TapFacts,
)
from banger.privileged.device_mapper import Device

#: Sectors of 512 bytes in a chunk, the unit that is copied before it is changed: 4 KiB, the
#: block of ext4 and the page of the kernel. Guests write whole ones, so nothing is ever copied,
#: and a changed byte costs the layer no more than that.
CHUNK_SECTORS = 8
#: The head of a layer: magic, 1 while it is whole, version, sectors of a chunk
#: (drivers/md/dm-snap-persistent.c).
_HEAD = struct.Struct("<4s3L")
MAGIC, VERSION = b"SnAp", 1
#: udev and others may look at a device for a moment: seconds to try, and between two tries.
_PATIENCE, _PAUSE = 5.0, 0.05


def name_of(caller: int, vm_id: str) -> str:
    """The device of a VM, and the tag of the loop device below."""
    return f"banger-{caller}-{vm_id}"


def uuid_of(caller: int, vm_id: str) -> str:
    """The mark that proves a device to be ours."""
    return f"BANGER-{caller}-{vm_id}"


def perform(call: SnapshotCall, caller: int) -> TapFacts:
    """Carry out a checked call. Raises ``CallFailed`` and ``OSError``."""
    match call:
        case SnapshotProbe():
            return _probe()
        case SnapshotAttach():
            _attach(call, caller)
        case SnapshotDetach():
            _detach(name_of(caller, call.vm_id), uuid_of(caller, call.vm_id))
    name = name_of(caller, call.vm_id)
    device = device_mapper.find(name)
    if device is None:
        return TapFacts(name, 0, "")
    return TapFacts(name, device.number, device.uuid)


def _probe() -> TapFacts:
    found = device_mapper.evidence("snapshot")
    os.close(os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC))
    return TapFacts("snapshot", 1, found)


def _attach(call: SnapshotAttach, caller: int) -> None:
    name, uuid = name_of(caller, call.vm_id), uuid_of(caller, call.vm_id)
    with contextlib.ExitStack() as stack:

        def keep(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        image = keep(callers_files.open_file(call.image, caller, writable=False))
        layer = keep(callers_files.open_file(call.layer, caller, writable=True))
        _check_layer(layer, call.layer)
        device = _ours(name, uuid)
        origin = loop.attach(image, f"banger-{caller}-image", read_only=True)
        keep(origin.descriptor)
        changes = loop.attach(layer, name, read_only=False)
        keep(changes.descriptor)
        if os.fstat(layer).st_size // 512 > changes.sectors():
            changes.take_size_of_file()
        if device is not None and device.active:
            if device_mapper.depends_on(uuid) == {origin.number, changes.number}:
                if device.deferred:
                    device_mapper.keep(uuid)
                _give(device, caller)
                return
            if device.open_count:
                text = f"the device {name} is in use, and lies over other files than these"
                raise CallFailed("failed", text)
            _remove(uuid)
            device = None
        if device is None:
            device_mapper.create(name, uuid)
        try:
            parameters = f"{origin.spelt} {changes.spelt} P {CHUNK_SECTORS}"
            device_mapper.load(uuid, origin.sectors(), "snapshot", parameters)
            made = _ours(name, uuid)
            if made is None:
                raise CallFailed("failed", f"the device {name} is gone again")
            if device_mapper.status(uuid).strip() == "Invalid":
                raise CallFailed("failed", f"the kernel finds {call.layer:.200} invalid")
            _give(made, caller)
        except BaseException:
            with contextlib.suppress(OSError):
                device_mapper.remove(uuid, deferred=True)
            raise


def _check_layer(layer: int, path: str) -> None:
    size = os.fstat(layer).st_size
    head = os.pread(layer, _HEAD.size, 0)
    if size % 512 or size < 4 * CHUNK_SECTORS * 512 or len(head) < _HEAD.size:
        raise CallFailed("refused", f"{path:.200} has {size} bytes, and no layer has")
    if _HEAD.unpack(head) != (MAGIC, 1, VERSION, CHUNK_SECTORS):
        raise CallFailed("refused", f"{path:.200} is no whole layer of a VM")


def _ours(name: str, uuid: str) -> Device | None:
    """The device, if there is one. Raises ``CallFailed`` if a foreign one stands in the way."""
    device = device_mapper.find(name)
    if device is not None and device.uuid != uuid:
        mark = f"carries the mark {device.uuid!r:.140}" if device.uuid else "carries no mark"
        raise CallFailed("foreign", f"the device {name} exists and {mark}")
    if device is None:
        other = device_mapper.find(uuid=uuid)
        if other is not None:
            raise CallFailed("foreign", f"the device {uuid} goes by the name {other.name!r:.140}")
    return device


def _detach(name: str, uuid: str) -> None:
    device = _ours(name, uuid)
    if device is None:
        return
    _remove(uuid)
    node = _node(device)
    # In a container nobody else takes the node away; the number may soon be another device's.
    with contextlib.suppress(FileNotFoundError):
        major, minor = os.major(device.number), os.minor(device.number)
        gone = not Path(f"/sys/dev/block/{major}:{minor}").exists()
        if gone and node.lstat().st_rdev == device.number:
            node.unlink()


def _remove(uuid: str) -> None:
    for _ in _tries():
        try:
            device_mapper.remove(uuid)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno != errno.EBUSY:
                raise
        else:
            return
    # Whoever still has it open keeps it until then.
    device_mapper.remove(uuid, deferred=True)


def _tries() -> Iterator[None]:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        yield
        time.sleep(_PAUSE)


def _node(device: Device) -> Path:
    return Path("/dev", f"dm-{os.minor(device.number)}")


def _give(device: Device, caller: int) -> None:
    """Make the caller the owner of the device's node, which goes with the device."""
    descriptor = loop.open_node(_node(device), device.number, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != caller:
            os.fchown(descriptor, caller, -1)
        if not status.st_mode & stat.S_IWUSR or status.st_mode & stat.S_IRWXO:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
