"""What the user that Firecracker runs as may open, and how it comes to more.

Firecracker opens everything by name, so the mode of each file counts, though not that of the
folders above: its own folder holds links to descriptors that it inherits.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from pathlib import Path

from banger.errors import HostNotReady
from banger.host.files import explained
from banger.privileged import kernel_files

User = tuple[int, int]
_KVM, _TUN = Path("/dev/kvm"), Path("/dev/net/tun")
#: linux/if_tun.h
_TUNSETIFF, _TUNSETOWNER = 0x400454CA, 0x400454CC
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


def may(status: os.stat_result, user: User, wanted: int) -> bool:
    """Whether ``(uid, gid)`` has the rights (``os.R_OK`` and so on) by the file's mode."""
    uid, gid = user
    shift = 6 if uid == status.st_uid else 3 if gid == status.st_gid else 0
    return (status.st_mode >> shift) & wanted == wanted


def grant(descriptor: int, user: User | None, wanted: int) -> None:
    """Let the user open the file once more, by its group: the owner stays, and no path to it
    opens. Nothing happens without a user, or if it may already."""
    if user is None or may(os.fstat(descriptor), user, wanted):
        return
    os.fchown(descriptor, -1, user[1])
    os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | wanted << 3)


def private_node(folder: Path, device: int, flags: int, user: User) -> int:
    """A descriptor of a block device by a node that belongs to the user and has no name.

    Only root can do this. Raises ``OSError``, also where ``folder`` allows no device nodes.
    """
    path = folder / f".node-{os.getpid()}-{device}"
    path.unlink(missing_ok=True)
    os.mknod(path, stat.S_IFBLK | 0o600, device)
    try:
        os.chown(path, *user)
        return os.open(path, flags)
    finally:
        path.unlink()


def kvm_groups(user: User | None) -> tuple[int, ...]:
    """The groups that Firecracker needs to use KVM. Raises ``HostNotReady``."""
    try:
        status = _KVM.stat()
    except OSError as error:
        raise HostNotReady(
            "Firecracker needs KVM",
            cause=f"{_KVM}: {error.strerror}",
            resolution="banger doctor",
        ) from error
    if user is None:
        if os.access(_KVM, os.R_OK | os.W_OK):
            return ()
        raise HostNotReady(
            "Firecracker may not use KVM",
            cause=f"{_KVM} is not open to this user",
            resolution="sudo adduser $USER kvm, then log in again",
        )
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        return (status.st_gid,)
    if may(status, user, os.R_OK | os.W_OK):
        return ()
    raise HostNotReady(
        "Firecracker may not use KVM",
        cause=f"{_KVM} is open to root alone, and Firecracker does not run as root",
        resolution=f"sudo chgrp kvm {_KVM} && sudo chmod 660 {_KVM}",
    )


def _owner_of(name: str) -> int:
    """The user whose TAP it is (Linux's drivers/net/tun.c); -1 for none's."""
    try:
        return int(kernel_files.value(f"/sys/class/net/{name}/owner"))
    except (OSError, ValueError):
        return -1


def give_tap(name: str, user: User | None) -> None:
    """Check that the TAP is there, and make the user its owner.

    Raises ``HostNotReady`` or ``PermissionRefused``. Asked for a TAP that does not exist,
    Firecracker would make one, with nothing attached to it.
    """
    if not Path("/sys/class/net", name).exists():
        raise HostNotReady(
            f"the network interface {name} does not exist",
            cause="it was removed after the VM had been created",
            resolution="banger restart NAME",
        )
    if user is None:
        return
    with explained(f"open the network interface {name}"):
        if not may(_TUN.stat(), user, os.R_OK | os.W_OK):
            raise HostNotReady(
                "Firecracker may not use TAP interfaces",
                cause=f"{_TUN} is open to root alone, and Firecracker does not run as root",
                resolution=f"sudo chmod 666 {_TUN}",
            )
        if _owner_of(name) == user[0]:
            return  # to attach and let go once more takes the kernel milliseconds
        descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
            fcntl.ioctl(descriptor, _TUNSETOWNER, user[0])
        finally:
            os.close(descriptor)
