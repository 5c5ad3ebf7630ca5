"""Firecracker's own folder and standard streams: made for one launch, private, and relative.

The folder is Firecracker's current one and belongs to the user that it runs as. In it stand
links to the descriptors that it inherits, so that it reaches files in folders closed to it, and
for a moment the two sockets that it makes; they are then moved to where they are wanted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from banger.drivers.vmm.base import BootSpec
from banger.drivers.vmm.firecracker import bodies, metrics, rights
from banger.drivers.vmm.firecracker.rights import User, grant, may
from banger.errors import Conflict
from banger.host import files
from banger.host.files import explained
from banger.model.storage import Drive
from banger.paths import checked_socket

API_SOCKET, LOG, STDERR = "api.sock", "log", "stderr"
#: The name of the folder, beside the VM's sockets.
FOLDER = "firecracker"
_CHUNK = 8 * 1024 * 1024
#: How often, and with what pause in seconds, a block device is tried that somebody (as a rule
#: udev) looks at.
_LOCK_TRIES, _LOCK_PAUSE = 10, 0.02


class Workspace(Struct, frozen=True):
    """Open descriptor numbers, the same in us and in Firecracker.

    ``program`` is what to execute: a path that the user it runs as can reach.
    """

    folder: Path
    program: str
    stdin: int
    stdout: int
    stderr: int
    inherited: tuple[int, ...]


def folder_of(monitor_socket: Path) -> Path:
    """Firecracker's own folder, beside the socket."""
    return monitor_socket.parent / FOLDER


def metrics_of(log: Path) -> Path:
    """The file of metrics that belongs to a file of events."""
    return log.with_suffix(".metrics")


def refuse_running(spec: BootSpec) -> None:
    """Raise ``Conflict`` if something answers at the VM's API socket."""
    checked_socket(spec.monitor_socket)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(os.fspath(spec.monitor_socket))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return
        except BlockingIOError:  # its queue is full, so somebody listens
            pass
    raise Conflict(
        f"the socket {spec.monitor_socket} is in use",
        cause="a process still answers there",
        resolution="banger ls, and stop the VM; or end the process that owns the socket",
    )


@contextlib.contextmanager
def made(spec: BootSpec, executable: Path, note: bytes) -> Iterator[Workspace]:
    """Make the folder and open everything for the time of the block.

    ``note`` becomes the first line of the events. What it made is removed if the block fails.
    Raises ``Conflict`` for a drive in use, ``HostNotReady`` or ``PermissionRefused``.
    """
    folder, user = folder_of(spec.monitor_socket), spec.run_as
    with ExitStack() as stack:
        kept: list[int] = []

        def keep(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            kept.append(descriptor)
            return descriptor

        def link(name: str, descriptor: int) -> None:
            (folder / name).symlink_to(f"/proc/self/fd/{descriptor}")

        remove(spec)
        try:
            with explained(f"make the folder {folder}"):
                folder.mkdir(mode=0o700)
                if user is not None:
                    os.chown(folder, *user)
            for drive in spec.drives:
                # The first holds the lock, the last is what the user can open once more.
                for descriptor in map(keep, _drive(drive, user, spec.console_log.parent)):
                    opened = descriptor
                link(bodies.drive_name(drive.id), opened)
            link(bodies.KERNEL, keep(_kernel(spec.kernel, user)))
            if spec.initrd is not None:
                link(bodies.INITRD, keep(_open(spec.initrd, os.O_RDONLY, user, os.R_OK)))
            link(LOG, keep(_log(spec.log, user)))
            metrics.forget(metrics_of(spec.events))
            link(bodies.METRICS, keep(_log(metrics_of(spec.events), user)))
            events = _log(spec.events, None)
            stack.callback(os.close, events)
            os.write(events, note)
            program = str(executable)
            if user is not None:
                # Its folder may be closed to that user.
                program = f"/proc/self/fd/{keep(os.open(executable, os.O_RDONLY | os.O_CLOEXEC))}"
            streams = (
                _fifo(spec.console_socket),
                _open(spec.console_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, None, 0),
                _log(folder / STDERR, None),
            )
            for stream in streams:
                stack.callback(os.close, stream)
            yield Workspace(folder, program, *streams, inherited=tuple(kept))
        except BaseException:
            remove(spec)
            raise


def make_streams(spec: BootSpec, note: bytes) -> None:
    """Make what somebody else opens for a Firecracker: the console's two ends and the logs.

    ``note`` becomes the first line of the events.
    """
    remove(spec)
    folder = folder_of(spec.monitor_socket)
    with explained(f"make the folder {folder}"):
        folder.mkdir(mode=0o700)
    os.close(_fifo(spec.console_socket))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    os.close(_open(spec.console_log, flags, None, 0))
    for log in (spec.log, metrics_of(spec.events), folder / STDERR):
        os.close(_log(log, None))
    events = _log(spec.events, None)
    try:
        os.write(events, note)
    finally:
        os.close(events)


def publish(spec: BootSpec) -> bool:
    """Move the two sockets to where they are wanted, open to our user alone.

    Whether that of the API is there now.
    """
    folder = folder_of(spec.monitor_socket)
    moves = ((API_SOCKET, spec.monitor_socket), (bodies.VSOCK, spec.agent_socket))
    for name, target in moves:
        with explained(f"make the socket {target}"), contextlib.suppress(FileNotFoundError):
            (folder / name).rename(target)
            target.chmod(0o600)
            if spec.run_as is not None:
                os.chown(target, os.geteuid(), os.getegid())
    # In a jail it is a link to a folder of the jail's.
    return os.path.lexists(spec.monitor_socket)


def remove(spec: BootSpec) -> None:
    """Remove the folder and the sockets; what is absent is passed over."""
    for path in (spec.console_socket, spec.monitor_socket, spec.agent_socket):
        path.unlink(missing_ok=True)
    files.remove_tree(folder_of(spec.monitor_socket))


def _open(path: Path, flags: int, user: User | None, wanted: int) -> int:
    with explained(f"open {path}"):
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            grant(descriptor, user, wanted)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _log(path: Path, user: User | None) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_NOFOLLOW
    return _open(path, flags, user, os.R_OK | os.W_OK)


def _kernel(path: Path, user: User | None) -> int:
    """A descriptor of the kernel, or of a copy in memory: the file may be the user's own."""
    with explained(f"open {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if user is None or may(os.fstat(descriptor), user, os.R_OK):
            return descriptor
        try:
            copy = os.memfd_create(path.name, os.MFD_CLOEXEC)
            while os.sendfile(copy, descriptor, None, _CHUNK):
                pass
        finally:
            os.close(descriptor)
    return copy


def _drive(drive: Drive, user: User | None, scratch: Path) -> Iterator[int]:
    """Descriptors for Firecracker to inherit, so that the lock lasts as long as it lives."""
    wanted = os.R_OK if drive.read_only else os.R_OK | os.W_OK
    flags = (os.O_RDONLY if drive.read_only else os.O_RDWR) | os.O_CLOEXEC
    with explained(f"open the drive {drive.path}"):
        descriptor = os.open(drive.path, flags)
    yield descriptor
    status = os.fstat(descriptor)
    is_device = stat.S_ISBLK(status.st_mode)
    _lock(descriptor, drive, tries=_LOCK_TRIES if is_device else 1)
    if not is_device:
        grant(descriptor, user, wanted)
    elif user is not None and not may(status, user, wanted):
        # The node in /dev is the host's, and will stand for another disk one day.
        with explained(f"give the drive {drive.path} to the VMM"):
            yield rights.private_node(scratch, status.st_rdev, flags, user)


def _lock(descriptor: int, drive: Drive, *, tries: int) -> None:
    """Take the lock that Firecracker itself does not take. Raises ``Conflict``."""
    kind = fcntl.LOCK_SH if drive.read_only else fcntl.LOCK_EX
    while True:
        tries -= 1
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if tries:
                time.sleep(_LOCK_PAUSE)
                continue
            raise Conflict(
                f"the drive {drive.path} is in use",
                cause="another process has it locked",
                resolution="banger ls, and stop the VM that uses it",
            ) from error
        return


def _fifo(path: Path) -> int:
    """Both ends of the console's input: held by Firecracker itself, it never ends."""
    checked_socket(path)
    with explained(f"make the console input {path}"):
        os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
