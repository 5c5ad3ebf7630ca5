"""Lets a jail open files of a caller once more, that were opened with the caller's rights."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from banger.privileged import callers_files


def open_plain(path: str, flags: int) -> int:
    """Open an absolute path of which no part is a link. Raises ``OSError`` with the path.

    Never waits: a FIFO or a device in place of the file must not hold us up.
    """
    opening = flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return callers_files.walk(path, opening)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def may(status: os.stat_result, uid: int, wanted: int) -> bool:
    """Whether the user whose one group has the same number has the rights by the mode."""
    shift = 6 if status.st_uid == uid else 3 if status.st_gid == uid else 0
    return (status.st_mode >> shift) & wanted == wanted


def require_own(descriptor: int, path: str, caller: int) -> os.stat_result:
    """The status of a regular file of the caller's with no second name. Raises ``OSError``."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "it is no regular file", path)
    if status.st_dev in _kernel_devices():
        raise OSError(0, "it is no file of a disk", path)
    if status.st_uid != caller:
        raise OSError(0, f"it belongs to user {status.st_uid}, not to {caller}", path)
    if status.st_nlink != 1:
        raise OSError(0, f"it has {status.st_nlink} names", path)
    return status


def share(descriptor: int, path: str, caller: int, uid: int, wanted: int) -> None:
    """Let the user ``uid`` open the caller's file by its group: the owner stays, and no path to
    it opens. Raises ``OSError``."""
    status = require_own(descriptor, path, caller)
    if not may(status, uid, wanted):
        os.fchown(descriptor, -1, uid)
        # Exactly these: what the group might do before was meant for another one, and running
        # the file must give nobody the group of a jail.
        os.fchmod(descriptor, status.st_mode & 0o707 | wanted << 3)


def _kernel_devices() -> set[int]:
    return {Path(folder).stat().st_dev for folder in ("/proc", "/sys")}
