"""The line in a user's own OpenSSH configuration that includes ours, put in and taken out."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from banger.errors import CorruptState, PermissionRefused
from banger.host.files import explained, write_atomic

_COMMENT = b"# Written by banger; to take it out: banger ssh-config --remove\n"
#: A file of more bytes than this is no configuration that a person wrote.
_MOST = 4 * 1024 * 1024


def include_line(ours: Path) -> bytes:
    """The line that includes ``ours``: first a pattern (glob(3)), then a quoted word."""
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", str(ours))
    word = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return b'Include "' + os.fsencode(word) + b'"\n'


def without(text: bytes, ours: Path) -> bytes:
    """``text`` with no line that includes ``ours``; everything else byte for byte."""
    line = include_line(ours).strip()
    kept = [other for other in text.splitlines(keepends=True) if other.strip() != line]
    return b"".join(other for other in kept if other != _COMMENT)


def with_it(text: bytes, ours: Path) -> bytes:
    """``text`` with the line at its head, where no ``Host`` before it narrows it."""
    return _COMMENT + include_line(ours) + without(text, ours)


def edit(path: Path, ours: Path, *, present: bool) -> bool:
    """Put the line into the file ``path`` or take it out; whether anything was changed.

    The file keeps its mode, and a symbolic link stays one. A file that is empty without the
    line goes. Raises ``PermissionRefused`` for a file that is not the user's own.
    """
    target = path.resolve()
    before, mode = _read(target)
    after = with_it(before, ours) if present else without(before, ours)
    if after == before:
        return False
    if after or target != path:
        if not target.parent.exists():
            with explained(f"make the folder {target.parent}"):
                target.parent.mkdir(mode=0o700)
        write_atomic(target, after, mode)
    else:
        with explained(f"remove {path}"):
            path.unlink()
    return True


def _read(target: Path) -> tuple[bytes, int]:
    """Content and mode of the file; those of a new one if there is none."""
    with explained(f"read {target}"):
        if not os.path.lexists(target):
            return b"", 0o600
        status = target.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST:
            raise CorruptState(
                f"{target} is not a configuration of ssh",
                cause="it is no file, or too large for one",
                resolution=f"ls -l {target}",
            )
        if status.st_uid != os.geteuid():
            raise PermissionRefused(
                f"{target} is not changed",
                cause=f"it belongs to user {status.st_uid}, and ssh would not take it from us",
                resolution=f"ls -l {target}",
            )
        return target.read_bytes(), stat.S_IMODE(status.st_mode)
