"""Opens everything a QEMU process gets from us, so that it needs no right to open it itself."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from banger.drivers.vmm.base import BootSpec
from banger.errors import Conflict, HostNotReady
from banger.host.files import explained
from banger.model.storage import Drive
from banger.paths import checked_socket

#: linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
#: What QEMU finds on its standard input: it leaves the negotiation phase, so that the events
#: on its standard output begin, and only then lets the guest run, so that none is missed.
_FIRST_COMMANDS = b'{"execute":"qmp_capabilities"}\n{"execute":"cont"}\n'


_CHUNK = 8 * 1024 * 1024
#: Takes an open descriptor into care, to be closed in the end, and returns it.
_Keep = Callable[[int], int]


class DriveDescriptors(Struct, frozen=True):
    """``file`` is the drive itself, ``backing`` the base of a qcow2 drive.

    ``device`` and ``backing_device`` tell a block device from a regular file.
    """

    file: int
    backing: int | None = None
    device: bool = False
    backing_device: bool = False


class Descriptors(Struct, frozen=True):
    """Open descriptor numbers, the same in us and in QEMU.

    ``guard`` is the writing end of the pipe that is QEMU's standard input: held by QEMU
    itself, it keeps the pipe from ever ending. The last three become its standard streams.
    """

    kernel: int
    initrd: int | None
    console: int
    monitor: int
    agent: int
    console_log: int
    guard: int
    drives: tuple[DriveDescriptors, ...]
    tap: int | None
    commands: int = -1
    events: int = -1
    log: int = -1

    def inherited(self) -> tuple[int, ...]:
        """The descriptors to pass on beside the standard streams."""
        numbers = [self.kernel, self.console, self.monitor, self.agent]
        numbers += [self.console_log, self.guard]
        for drive in self.drives:
            numbers += [drive.file] if drive.backing is None else [drive.file, drive.backing]
        numbers += [n for n in (self.initrd, self.tap) if n is not None]
        return tuple(numbers)


@contextlib.contextmanager
def opened(spec: BootSpec, note: bytes) -> Iterator[Descriptors]:
    """Open everything for the time of the block; ``note`` becomes the events' first line.

    The sockets that it made are removed if the block fails. Raises ``Conflict`` if a socket
    is in use, ``HostNotReady`` or ``PermissionRefused`` for what cannot be opened.
    """
    with ExitStack() as stack, ExitStack() as on_failure:

        def keep(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        def listen(path: Path) -> int:
            server = stack.enter_context(listener(path))
            on_failure.callback(path.unlink, missing_ok=True)
            return server.fileno()

        # The sockets first: if the VM runs already, its logs must not be touched.
        console, monitor, agent = map(
            listen, (spec.console_socket, spec.monitor_socket, spec.agent_socket)
        )
        commands, guard = map(keep, os.pipe2(os.O_CLOEXEC))
        os.write(guard, _FIRST_COMMANDS)
        events = keep(_log(spec.events, truncate=True))
        os.write(events, note)
        yield Descriptors(
            kernel=_boot_file(spec.kernel, spec.run_as, keep),
            initrd=_boot_file(spec.initrd, spec.run_as, keep) if spec.initrd else None,
            console=console,
            monitor=monitor,
            agent=agent,
            console_log=keep(_log(spec.console_log, truncate=False)),
            guard=guard,
            drives=tuple(_drive(drive, keep) for drive in spec.drives),
            tap=keep(tap(spec.network.tap)) if spec.network.tap else None,
            commands=commands,
            events=events,
            log=keep(_log(spec.log, truncate=True)),
        )
        on_failure.pop_all()


def listener(path: Path) -> socket.socket:
    """A listening Unix socket at ``path`` that only our user may connect to.

    A socket left by a dead process is replaced. Raises ``Conflict`` if one answers.
    """
    checked_socket(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The mode of an unbound socket becomes the mode of its file (unix(7)): no moment
        # passes in which others could connect.
        os.fchmod(server.fileno(), 0o600)
        with explained(f"make the socket {path}"):
            try:
                server.bind(os.fspath(path))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                _remove_stale(path)
                server.bind(os.fspath(path))
            server.listen(4)
    except BaseException:
        server.close()
        raise
    return server


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
                return
        except FileNotFoundError:
            return
        except BlockingIOError:  # its queue is full, so somebody listens
            pass
    raise Conflict(
        f"the socket {path} is in use",
        cause="a process still answers there",
        resolution="banger ls, and stop the VM; or end the process that owns the socket",
    )


def tap(name: str) -> int:
    """Open the existing TAP ``name``. Raises ``HostNotReady`` or ``PermissionRefused``."""
    if not Path("/sys/class/net", name).exists():
        # Opening it would make one, in the right name and with nothing attached to it.
        raise HostNotReady(
            f"the network interface {name} does not exist",
            cause="it was removed after the VM had been created",
            resolution="banger restart NAME",
        )
    with explained(f"open the network interface {name}"):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _boot_file(path: Path, run_as: tuple[int, int] | None, keep: _Keep) -> int:
    """A descriptor that QEMU can open once more as ``/proc/self/fd/N``.

    It opens kernel and initrd by name only, so the file's own mode counts, though not that
    of the folders above. What another user may not read (an initrd holds secrets) is handed
    over as a copy in memory.
    """
    with explained(f"open {path}"):
        descriptor = keep(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        if run_as is None or may_read(os.fstat(descriptor), run_as):
            return descriptor
        copy = keep(os.memfd_create(path.name, os.MFD_CLOEXEC))
        while os.sendfile(copy, descriptor, None, _CHUNK):
            pass
    return copy


def may_read(status: os.stat_result, user: tuple[int, int]) -> bool:
    """Whether ``(uid, gid)`` may read the file of ``status`` by its mode."""
    uid, gid = user
    if uid == status.st_uid:
        return bool(status.st_mode & stat.S_IRUSR)
    if gid == status.st_gid:
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)


def _drive(drive: Drive, keep: _Keep) -> DriveDescriptors:
    with explained(f"open the drive {drive.path}"):
        mode = os.O_RDONLY if drive.read_only else os.O_RDWR
        file = keep(os.open(drive.path, mode | os.O_CLOEXEC))
    if drive.base is None:
        return DriveDescriptors(file, device=_is_device(file))
    with explained(f"open the image {drive.base}"):
        backing = keep(os.open(drive.base, os.O_RDONLY | os.O_CLOEXEC))
    return DriveDescriptors(file, backing, _is_device(file), _is_device(backing))


def _is_device(descriptor: int) -> bool:
    return stat.S_ISBLK(os.fstat(descriptor).st_mode)


def _log(path: Path, *, truncate: bool) -> int:
    # QEMU writes only, and looks for a descriptor of just this access mode.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with explained(f"open the log {path}"):
        return os.open(path, flags | (os.O_TRUNC if truncate else 0), 0o600)
