"""Speaks to the kernel's device-mapper: the few requests that a snapshot needs.

All numbers are from linux/dm-ioctl.h. The kernel is asked itself and not the program dmsetup:
this needs no package, and dmsetup waits for a udev that may not run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from banger.privileged.calls import CallFailed
from banger.privileged.frozen import Frozen

_CONTROL = Path("/dev/mapper/control")
_MISC = Path("/proc/misc")
_MISC_MAJOR = 10
#: struct dm_ioctl up to and with its last field, struct dm_target_spec.
_REQUEST = struct.Struct("=3LLLLlLLLQ128s129s7x")
_TARGET = struct.Struct("=QQlL16s")
_VERSION, _CREATE, _REMOVE, _SUSPEND, _STATUS = 0, 3, 4, 6, 7
_LOAD, _DEPS, _TABLE, _MESSAGE, _TARGET_VERSION = 9, 11, 12, 14, 17
_ACTIVE, _BUFFER_FULL, _DEFERRED = 1 << 5, 1 << 8, 1 << 17
#: For udev, in the upper half of the event number (libdevmapper.h): we ask for this ourselves,
#: and nobody shall look into the device. A guest decides what stands there, and the labels that
#: udev finds become links that the host mounts by.
_UDEV = (0x02 | 0x04 | 0x08 | 0x40) << 16
_ROOM = 16 * 1024


class Device(Frozen):
    """A mapped device. ``active``: it has a table. ``deferred``: it goes with its last user."""

    name: str
    uuid: str
    number: int
    open_count: int
    active: bool
    deferred: bool


def evidence(target: str) -> str:
    """The versions of device-mapper and of a target, whose module is loaded if need be.

    Raises ``CallFailed`` if there is none.
    """
    version, _, _ = _ask(_VERSION)
    try:
        _, _, data = _ask(_TARGET_VERSION, name=target)
    except OSError as error:
        text = f"this kernel's device-mapper has no {target}: {error.strerror}"
        raise CallFailed("failed", text) from error
    own = ".".join(map(str, struct.unpack_from("=3L", data, 4)))
    return f"device-mapper {version}, {target} {own}"


def find(name: str = "", uuid: str = "") -> Device | None:
    """The device of that name, or the one with that uuid."""
    try:
        return _ask(_STATUS, name=name, uuid=uuid)[1]
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def create(name: str, uuid: str) -> None:
    """Make a device without a table."""
    _ask(_CREATE, name=name, uuid=uuid)


def load(uuid: str, sectors: int, target: str, parameters: str) -> None:
    """Give the device a table of one target, and let it work from now on."""
    text = parameters.encode() + b"\0"
    text += bytes(-len(text) % 8)
    spec = _TARGET.pack(0, sectors, 0, _TARGET.size + len(text), target.encode())
    _ask(_LOAD, uuid=uuid, targets=1, data=spec + text)
    _ask(_SUSPEND, uuid=uuid, event=_UDEV)  # without the flag for it, it resumes


def depends_on(uuid: str) -> set[int]:
    """The numbers of the devices below."""
    _, _, data = _ask(_DEPS, uuid=uuid)
    count = struct.unpack_from("=L", data)[0]
    return set(struct.unpack_from(f"={count}Q", data, 8))


def status(uuid: str) -> str:
    """What the target says of itself."""
    _, _, data = _ask(_TABLE, uuid=uuid)
    return data[_TARGET.size :].split(b"\0")[0].decode(errors="replace")


def remove(uuid: str, *, deferred: bool = False) -> None:
    """Remove the device; with ``deferred`` as soon as nobody has it open any more."""
    _ask(_REMOVE, uuid=uuid, flags=_DEFERRED if deferred else 0, event=_UDEV)


def keep(uuid: str) -> None:
    """Take a deferred removal back."""
    message = struct.pack("=Q", 0) + b"@cancel_deferred_remove\0"
    _ask(_MESSAGE, uuid=uuid, data=message)


def _ask(
    command: int,
    *,
    name: str = "",
    uuid: str = "",
    targets: int = 0,
    flags: int = 0,
    event: int = 0,
    data: bytes = b"",
) -> tuple[str, Device, bytes]:
    size = _REQUEST.size + _ROOM
    head = _REQUEST.pack(
        4, 0, 0, size, _REQUEST.size, targets, 0, flags, event, 0, 0, name.encode(), uuid.encode()
    )
    buffer = bytearray(head + data.ljust(_ROOM, b"\0"))
    with _control() as control:
        # _IOWR(0xfd, command, struct dm_ioctl)
        fcntl.ioctl(control, 0xC000FD00 | _REQUEST.size << 16 | command, buffer)
    answer = _REQUEST.unpack_from(buffer)
    start, answered = answer[4], answer[7]
    if answered & _BUFFER_FULL:
        raise CallFailed("failed", "device-mapper answers with more than it may")
    device = Device(
        name=_text(answer[11]),
        uuid=_text(answer[12]),
        number=answer[10],
        open_count=answer[6],
        active=bool(answered & _ACTIVE),
        deferred=bool(answered & _DEFERRED),
    )
    return ".".join(map(str, answer[:3])), device, bytes(buffer[start:])


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode(errors="replace")


@contextlib.contextmanager
def _control() -> Iterator[int]:
    descriptor = _open_control()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_control() -> int:
    if not _CONTROL.exists():
        minor = _minor(_MISC.read_text())
        if minor is None:
            raise CallFailed("failed", "this kernel has no device-mapper (modprobe dm_mod)")
        _CONTROL.parent.mkdir(mode=0o755, exist_ok=True)
        os.mknod(_CONTROL, stat.S_IFCHR | 0o600, os.makedev(_MISC_MAJOR, minor))
    try:
        return os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in {errno.ENODEV, errno.ENXIO}:
            raise
        text = "this kernel has no device-mapper (modprobe dm_mod)"
        raise CallFailed("failed", text) from error


def _minor(misc: str) -> int | None:
    """The number of device-mapper in the list of the kernel's small devices."""
    for line in misc.splitlines():
        number, _, name = line.strip().partition(" ")
        if name == "device-mapper":
            return int(number)
    return None
