"""Loop devices over open files, tagged with whose they are, that the kernel takes away again.

All numbers are from linux/loop.h. Each device has AUTOCLEAR: it is gone as soon as nobody has it
open, a device-mapper table or we, so nothing is left behind however we end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from banger.privileged.calls import CallFailed
from banger.privileged.frozen import Frozen

_CONFIGURE, _GET_STATUS64, _SET_CAPACITY, _GET_FREE = 0x4C0A, 0x4C05, 0x4C07, 0x4C82
#: linux/fs.h, _IOR(0x12, 114, size_t).
_BLKGETSIZE64 = 0x80081272
#: struct loop_info64, and what struct loop_config has before and behind it.
_INFO = struct.Struct("=5Q4L64s64s32s2Q")
_HEAD, _RESERVED = struct.Struct("=2L"), bytes(64)
_READ_ONLY, _AUTOCLEAR = 1, 4
_SYS = Path("/sys/block")
#: Others take devices too between our asking for a free number and our use of it.
_TRIES = 64


class Loop(Frozen):
    """One device. ``descriptor`` keeps it alive and is the caller's to close."""

    descriptor: int
    number: int

    @property
    def spelt(self) -> str:
        """``MAJOR:MINOR``, as device-mapper takes it."""
        return f"{os.major(self.number)}:{os.minor(self.number)}"

    def sectors(self) -> int:
        """Its size in units of 512 bytes."""
        answer = fcntl.ioctl(self.descriptor, _BLKGETSIZE64, bytes(8))
        return int(struct.unpack("=Q", answer)[0]) // 512

    def take_size_of_file(self) -> None:
        """Let the device have the size that its file has by now."""
        fcntl.ioctl(self.descriptor, _SET_CAPACITY, 0)


def attach(file: int, tag: str, *, read_only: bool) -> Loop:
    """A device of ``file`` with this tag: the one that there is, else a new one.

    Raises ``CallFailed`` (``foreign``) if a file to be written is under another one's device.
    """
    found = find(file, tag, read_only=read_only)
    return found or _make(file, tag, read_only=read_only)


def find(file: int, tag: str, *, read_only: bool) -> Loop | None:
    """The device of ``file`` with this tag. Raises as ``attach`` does."""
    wanted = os.fstat(file)
    for loop, (device, inode, offset, limit, flags, name) in _devices_of(file):
        same = (device, inode) == (wanted.st_dev, wanted.st_ino)
        plain = offset == 0 and limit == 0 and bool(flags & _AUTOCLEAR)
        if same and plain and name == tag and bool(flags & _READ_ONLY) is read_only:
            return loop
        os.close(loop.descriptor)
        if same and not read_only:
            text = f"/dev/loop of the VM's layer exists already, marked {name!r:.70}"
            raise CallFailed("foreign", text)
    return None


def _devices_of(file: int) -> Iterator[tuple[Loop, tuple[int, int, int, int, int, str]]]:
    """Every device whose file had the path of this one, open, with what it says of itself."""
    path = str(Path(f"/proc/self/fd/{file}").readlink())
    for folder in _SYS.glob("loop*/loop"):
        try:
            # The kernel writes odd characters as they are, and a line end behind them.
            if os.fsdecode((folder / "backing_file").read_bytes()[:-1]) != path:
                continue
            loop = _open(folder.parent.name, os.O_RDONLY)
        except FileNotFoundError:
            continue  # it is gone by now
        try:
            answer = fcntl.ioctl(loop.descriptor, _GET_STATUS64, bytes(_INFO.size))
        except OSError as error:
            os.close(loop.descriptor)
            if error.errno == errno.ENXIO:
                continue
            raise
        fields = _INFO.unpack(answer)
        name = fields[9].split(b"\0")[0].decode(errors="replace")
        yield loop, (fields[0], fields[1], fields[3], fields[4], fields[8], name)


def _make(file: int, tag: str, *, read_only: bool) -> Loop:
    flags = _AUTOCLEAR | (_READ_ONLY if read_only else 0)
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, tag.encode(), b"", b"", 0, 0)
    config = _HEAD.pack(file, 0) + info + _RESERVED
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            number = fcntl.ioctl(control, _GET_FREE)
            loop = _open(f"loop{number}", os.O_RDONLY if read_only else os.O_RDWR)
            try:
                fcntl.ioctl(loop.descriptor, _CONFIGURE, config)
            except OSError as error:
                os.close(loop.descriptor)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return loop
    finally:
        os.close(control)
    raise CallFailed("failed", "no loop device could be had: others took each that was free")


def _open(name: str, mode: int) -> Loop:
    number = os.makedev(*map(int, (_SYS / name / "dev").read_text().split(":")))
    return Loop(open_node(Path("/dev", name), number, mode), number)


def open_node(path: Path, number: int, mode: int) -> int:
    """Open the block device, and make its node first where nobody else does (in containers).

    Raises ``CallFailed`` (``foreign``) if another thing has its name.
    """
    if not path.exists():
        os.mknod(path, stat.S_IFBLK | 0o600, number)
    descriptor = os.open(path, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISBLK(status.st_mode) or status.st_rdev != number:
        os.close(descriptor)
        raise CallFailed("foreign", f"{path} is not the block device of that number")
    return descriptor
