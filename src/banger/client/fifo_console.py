"""A console without a socket: a FIFO takes the keys, and a log that grows holds the output."""

from __future__ import annotations

import os
import select
from pathlib import Path

from banger.errors import BangerError

#: Ctrl-], as telnet has it.
ESCAPE = b"\x1d"
#: Milliseconds between two looks at the log: short enough for an echo to seem immediate.
_PAUSE = 20
_PIECE = 65536


def attach_fifo(path: str, log: str, stdin: int, stdout: int) -> bool:
    """Pass keys and output until Ctrl-] (True) or the end of the FIFO's reader (False).

    Only what is printed from now on is shown.
    """
    try:
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BangerError(
            "the console cannot be reached",
            cause=f"{path}: {error.strerror or error}",
            resolution="banger ls",
        ) from None
    try:
        return _pump(fifo, _Tail(Path(log)), stdin, stdout)
    finally:
        os.close(fifo)


class _Tail:
    """What is appended to a file that may be cut at its beginning meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = path.stat().st_size if path.exists() else 0

    def read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                if size <= self._seen:
                    self._seen = size
                    return b""
                file.seek(self._seen)
                data = file.read(_PIECE)
        except OSError:
            return b""
        self._seen += len(data)
        return data


def _pump(fifo: int, tail: _Tail, stdin: int, stdout: int) -> bool:
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    poll.register(fifo, 0)  # it tells only that nobody reads it any more
    waiting = b""
    left = False
    while True:
        ready = dict(poll.poll(_PAUSE))
        if stdin in ready:
            keys = os.read(stdin, 4096)
            if not keys:
                poll.unregister(stdin)
            before, escape, _ = keys.partition(ESCAPE)
            waiting += before
            left = left or bool(escape)
        try:
            waiting = waiting[os.write(fifo, waiting) :] if waiting else b""
        except BlockingIOError:
            pass  # the guest does not read its console now
        except BrokenPipeError:
            return False
        while output := tail.read():
            while output:
                output = output[os.write(stdout, output) :]
        if left:
            return True
        if fifo in ready:
            return False
