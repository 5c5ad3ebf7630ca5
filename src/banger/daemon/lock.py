"""One daemon per user: the lock beside the socket, and the one on the state folder."""

from __future__ import annotations

import fcntl
import os

from banger.errors import Conflict
from banger.host import files
from banger.paths import Paths


def acquire(paths: Paths) -> tuple[int, ...] | None:
    """Take both locks for the life of the process; ``None`` if a daemon of this socket lives.

    Raises ``Conflict`` when a daemon with another runtime folder works on the same state:
    two of them would each undo what the other does.
    """
    files.make_private_folder(paths.runtime)
    lock = files.lock_file(paths.lock)
    if lock is None:
        return None
    files.make_private_folder(paths.state)
    state = os.open(paths.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(state)
        os.close(lock)
        raise Conflict(
            f"another bangerd works on {paths.state}",
            cause=f"it was started with another runtime folder than {paths.runtime.parent}",
            resolution="set XDG_RUNTIME_DIR as it is there, or end that daemon (pgrep -a bangerd)",
        ) from None
    return lock, state
