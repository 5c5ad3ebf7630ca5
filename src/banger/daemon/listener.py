"""The daemon's socket: bound by ourselves, private from its first moment, replaced in one step."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from pathlib import Path

from banger.host import files

#: Connections that the kernel may hold for us while we are busy.
BACKLOG = 128
#: Open files that the daemon wants to be allowed: two for each VM and each connection.
WANTED_FILES = 65536


class Listener:
    """A bound and listening Unix socket that knows whether its path is still its own."""

    def __init__(self, path: Path) -> None:
        """Bind and put the socket at ``path`` over whatever stood there.

        Only the holder of the daemon's lock may do so. Raises banger's error for an
        ``OSError``.
        """
        self.path = path
        # Never longer than the final name, so that it fits where that one does.
        temporary = path.with_name(f"sock.{os.getpid()}")
        with files.explained(f"listen on {path}"):
            for stale in path.parent.glob("sock.*"):
                stale.unlink()
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            old = os.umask(0o177)
            try:
                self.socket.bind(str(temporary))
            finally:
                os.umask(old)
            self.socket.listen(BACKLOG)
            self._identity = _identity(temporary)
            temporary.rename(path)

    def in_place(self) -> bool:
        """Whether clients that go to the path reach this socket."""
        try:
            return _identity(self.path) == self._identity
        except OSError:
            return False

    def close(self) -> None:
        """Stop listening and remove the socket, but not one that has taken its place."""
        if self.in_place():
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.socket.close()


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us, up to ``WANTED_FILES``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
