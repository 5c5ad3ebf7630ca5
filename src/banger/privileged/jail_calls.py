"""The calls about jails, whether a caller may have them, and where a jail leaves its record."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

from banger.privileged.frozen import Frozen

#: Where the host sees a jail: root's, on the file system that every start of the host empties.
JAILS = Path("/run/banger-jail")
#: The user ids of jails, each also a group id: those that systemd's list of Linux user ids
#: leaves unused (1879048192 to 2147483647), so that no account and no container has them.
FIRST_UID, UIDS = 1_900_000_000, 65_536
#: What is executed in a jail, by SHA-256: the release 1.12.1 for x86-64 and no other.
DIGESTS = {
    "firecracker": "b99ea49b8d8b7bfa307d3845585d6a97f7642aa17a985749900370070d8ca930",
    "jailer": "86622337f91df329cca72bb21cd1324fb8b6fa47931601d65ee4b2c72ef2cae5",
}
#: The sockets, in a folder that the jail and the host share.
SHARED, API_SOCKET, VSOCK = "s", "api.sock", "vsock.sock"
#: The mount point, in the jail's folder.
MOUNT_POINT = "jail"
#: Firecracker's own limit for virtual CPUs; a TiB of memory.
MAX_VCPUS, MAX_MEMORY_MIB = 32, 1024 * 1024
MAX_DRIVES = 16
_TAP = re.compile(r"bgr([0-9a-f]{12})")
_DRIVE = re.compile(r"(r[ow]):([A-Za-z0-9_]{1,64}):(/.*)", re.DOTALL)
#: Linux: the longest path, with the final zero.
_PATH_MAX = 4096
_RECORD, _RECORD_LIMIT = "record.json", 16 * 1024


class JailStart(Frozen):
    """Start Firecracker in a jail for the VM of the TAP name ``name``; its API is served then.

    Every path is opened with the rights of the caller, never with root's, and without following
    a link. ``firecracker`` and ``jailer`` are read and executed as copies of known digests.
    ``drives`` are ``rw:ID:/path``, ``initrd`` may be empty. With ``tap`` the TAP ``name`` comes
    to belong to the jail. The guest's memory and CPUs only bound what the jail may use.
    """

    name: str
    alias: str
    vcpus: int
    memory_mib: int
    tap: bool
    firecracker: str
    jailer: str
    kernel: str
    initrd: str
    drives: tuple[str, ...]
    log: str
    metrics: str
    console_input: str
    console_log: str
    errors: str


class JailEnd(Frozen):
    """End what runs in the jail of the VM at once, and remove the jail; no jail is fine."""

    name: str
    alias: str


class DriveEntry(Frozen):
    """One of ``JailStart.drives``."""

    writable: bool
    id: str
    path: str


class Cell(Frozen):
    """What is prepared for the inner side of a jail: its user, its mark and control group."""

    caller: int
    uid: int
    mark: str
    cgroup: str


class JailRecord(Frozen):
    """Who runs in a jail. ``runtime`` is the folder of the caller's with the console's input,
    ``cgroup`` the control group that bounds it, empty where the host has none for us."""

    uid: int
    runtime: str
    cgroup: str


def vm_id_of(name: str) -> str:
    """The VM's id in the name of its TAP; raises ``ValueError``."""
    found = _TAP.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is not the name of a TAP of banger")
    return found[1]


def process_name(caller: int, vm_id: str) -> str:
    """The mark in the arguments of Firecracker, and the name of its jail."""
    return f"banger-{caller}-{vm_id}"


def folder_of(mark: str) -> Path:
    """What the host sees of the jail whose Firecracker carries ``mark``."""
    return JAILS / mark


def parse_drive(text: str) -> DriveEntry:
    """One entry of ``JailStart.drives``; raises ``ValueError``."""
    found = _DRIVE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r:.60} is not a drive")
    return DriveEntry(found[1] == "rw", found[2], found[3])


def problem(call: JailStart) -> str:
    """Why the values of the call cannot be had; empty if they can be."""
    if not 1 <= call.vcpus <= MAX_VCPUS:
        return f"{call.vcpus} CPUs are not between 1 and {MAX_VCPUS}"
    if not 1 <= call.memory_mib <= MAX_MEMORY_MIB:
        return f"{call.memory_mib} MiB are not between 1 and {MAX_MEMORY_MIB}"
    if len(call.drives) > MAX_DRIVES:
        return f"more than {MAX_DRIVES} drives"
    try:
        drives = [parse_drive(text) for text in call.drives]
    except ValueError as error:
        return str(error)
    if len({drive.id for drive in drives}) != len(drives):
        return "two drives have the same id"
    paths = [call.firecracker, call.jailer, call.kernel, call.log, call.metrics]
    paths += [call.console_input, call.console_log, call.errors]
    paths += [drive.path for drive in drives] + ([call.initrd] if call.initrd else [])
    return next((reason for path in paths if (reason := _path_problem(path))), "")


def _path_problem(path: str) -> str:
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) >= _PATH_MAX:
        return f"{path!r:.60} is not an absolute path"
    if any(part in ("", ".", "..") for part in path[1:].split("/")):
        return f"{path!r:.60} is not a plain path"
    return ""


def write_record(mark: str, record: JailRecord) -> None:
    """Leave the record in the jail's folder, for everybody to read."""
    path = folder_of(mark) / _RECORD
    path.write_text(json.dumps(record.as_dict()))
    path.chmod(0o644)


def read_record(mark: str) -> JailRecord | None:
    """The record of a jail; None if there is none that root wrote."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(folder_of(mark) / _RECORD, flags)
        try:
            status = os.fstat(descriptor)
            if status.st_uid != 0 or not stat.S_ISREG(status.st_mode):
                return None
            found = JailRecord(**json.loads(os.read(descriptor, _RECORD_LIMIT)))
        finally:
            os.close(descriptor)
    except (OSError, ValueError, TypeError):
        return None
    return found if FIRST_UID <= found.uid < FIRST_UID + UIDS else None
