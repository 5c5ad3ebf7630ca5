"""The block of names that one user has in the host's hosts file; all other lines are kept."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from banger.privileged.calls import CallFailed, HostsBlockSet, TapFacts

HOSTS = Path("/etc/hosts")
#: Held while the file is changed. In a folder that is root's alone and empty after a reboot.
LOCK = Path("/run/banger-hosts.lock")
#: A hosts file beyond this is not one that we should read whole.
_MAX_BYTES = 8 * 1024 * 1024
_MARK = re.compile(rb"# banger (begin|end) uid=([0-9]{1,10})[ \t\r]*\Z")
#: Why a new file cannot take the place of the old one: it is a mount of its own (containers do
#: that), or its folder cannot be written. Its content can be replaced nevertheless.
_IN_PLACE = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


def perform(call: HostsBlockSet, caller: int) -> TapFacts:
    """Carry out a checked call. Raises ``CallFailed`` and ``OSError``."""
    set_block(caller, call.entries)
    return TapFacts("hosts", 0, "")


def owners(text: bytes) -> set[int]:
    """The users who have a block in the text of a hosts file."""
    return {int(found[2]) for line in text.splitlines() if (found := _MARK.match(line))}


def with_block(text: bytes, uid: int, entries: Sequence[str]) -> bytes:
    """The text with the user's block holding exactly ``entries``; without any, no block.

    Raises ``CallFailed``: ``foreign`` when another user has a block, since one zone is wired
    on a host, or when our own block has lost one of its ends.
    """
    others = owners(text) - {uid}
    if others:
        raise CallFailed("foreign", f"the names of user {min(others)} are in {HOSTS}")
    kept: list[bytes] = []
    place = None
    inside = False
    for line in text.splitlines(keepends=True):
        found = _MARK.match(line.rstrip(b"\n"))
        if found is None:
            if not inside:
                kept.append(line)
            continue
        if inside == (found[1] == b"begin"):
            raise CallFailed("foreign", f"the block of user {uid} in {HOSTS} has lost an end")
        inside = not inside
        place = len(kept) if place is None else place
    if inside:
        raise CallFailed("foreign", f"the block of user {uid} in {HOSTS} has no end")
    if not entries:
        return b"".join(kept)
    block = [f"# banger begin uid={uid}\n", *(f"{entry}\n" for entry in entries)]
    block.append(f"# banger end uid={uid}\n")
    place = len(kept) if place is None else place
    if place == len(kept) and kept and not kept[-1].endswith(b"\n"):
        kept[-1] += b"\n"
    kept[place:place] = [line.encode("ascii") for line in block]
    return b"".join(kept)


def set_block(uid: int, entries: Sequence[str]) -> None:
    """Let the user's block hold exactly these (checked) entries.

    Raises ``CallFailed`` or ``OSError``.
    """
    with _locked():
        before, status = _read(HOSTS)
        after = with_block(before, uid, entries)
        if after != before:
            _write(HOSTS, after, status)


def _write(path: Path, data: bytes, status: os.stat_result) -> None:
    # A new file in place of one with several names would leave the others behind.
    if status.st_nlink == 1:
        try:
            _replace(path, data, status)
        except OSError as error:
            if error.errno not in _IN_PLACE:
                raise
        else:
            return
    _rewrite(path, data)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(LOCK, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CallFailed("foreign", f"{path} is a symbolic link") from error
        raise
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            raise CallFailed("foreign", f"{path} is not an ordinary file of moderate size")
        return file.read(), status


def _replace(path: Path, data: bytes, status: os.stat_result) -> None:
    """A new file with the owner, mode and attributes of the old one in its place, atomically."""
    temporary = path.with_name(f".{path.name}.banger")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(data)
            file.flush()
            os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            with contextlib.suppress(OSError):
                for name in os.listxattr(path):
                    os.setxattr(descriptor, name, os.getxattr(path, name))
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _rewrite(path: Path, data: bytes) -> None:
    """The same file with other content: its end is cut only after all has been written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(data)
        file.flush()
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
