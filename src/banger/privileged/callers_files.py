"""Opens a file that a caller names, with no more rights than the caller has.

A descriptor would be the better name, but none gets through sudo: it closes all from 3 on, and
standard input may be a pipe of its own where sudo keeps a log. So a path comes, and means nothing
by itself: it is opened *as the caller*, one component after the other and through no link, and
what was opened, not what is named, is then checked. Whatever the caller gets done by it, it can
do to the same file without us.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator

from banger.privileged.calls import CallFailed

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Bytes of a path (linux/limits.h, PATH_MAX).
_MAX_PATH = 4096


def check_path(path: str) -> None:
    """Raise ``CallFailed`` unless ``path`` is absolute and spelt in the one plain way."""
    parts = path.split("/")
    if (
        len(os.fsencode(path)) >= _MAX_PATH
        or "\0" in path
        or parts[0] != ""
        or not parts[1:]
        or any(part in {"", ".", ".."} for part in parts[1:])
    ):
        raise CallFailed("refused", f"{path!r:.100} is not a plain absolute path")


def open_file(path: str, caller: int, *, writable: bool) -> int:
    """A descriptor of the regular file ``path``, which is the caller's and has one name only.

    What is only read may be root's as well. Raises ``CallFailed``.
    """
    check_path(path)
    flags = os.O_RDWR if writable else os.O_RDONLY
    try:
        with as_caller(caller):
            # O_NONBLOCK: a FIFO or a terminal must not keep us waiting.
            file = walk(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CallFailed("refused", f"{path:.200} cannot be opened: {error.strerror}") from error
    status = os.fstat(file)
    owners = {caller} if writable else {caller, 0}
    wrong = ""
    if not stat.S_ISREG(status.st_mode):
        wrong = "is no regular file"
    elif status.st_uid not in owners:
        wrong = f"belongs to user {status.st_uid}"
    elif writable and status.st_nlink != 1:
        wrong = f"has {status.st_nlink} names"
    if wrong:
        os.close(file)
        raise CallFailed("refused", f"{path:.200} {wrong}")
    return file


def walk(path: str, flags: int) -> int:
    """Open an absolute path of which no part is a link. Raises ``OSError``."""
    *folders, name = path.split("/")[1:]
    at = os.open("/", _FOLDER)
    try:
        for folder in folders:
            deeper = os.open(folder, _FOLDER, dir_fd=at)
            os.close(at)
            at = deeper
        return os.open(name, flags, dir_fd=at)
    finally:
        os.close(at)


@contextlib.contextmanager
def as_caller(caller: int) -> Iterator[None]:
    """Have the rights of the user for the time of the block.

    Nothing changes where we are that user: a daemon of root's has threads, and these rights
    would be theirs too.
    """
    if caller == os.geteuid():
        yield
        return
    try:
        entry = pwd.getpwuid(caller)
        group, groups = entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        group, groups = 65534, []  # nogroup
    own_group, own_groups = os.getegid(), os.getgroups()
    os.setgroups(groups)
    os.setegid(group)
    try:
        os.seteuid(caller)
        yield
    finally:
        os.seteuid(0)
        os.setegid(own_group)
        os.setgroups(own_groups)
