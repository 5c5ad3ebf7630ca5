"""The daemon's log: readable lines with the operation and VM they belong to, in bounded files."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import time
from collections.abc import Iterator
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

#: One file's size in bytes, and how many older ones are kept.
FILE_BYTES = 20 * 1024 * 1024
OLDER_FILES = 3

_about: contextvars.ContextVar[tuple[tuple[str, str], ...]] = contextvars.ContextVar(
    "_about", default=()
)


@contextlib.contextmanager
def about(**ids: str) -> Iterator[None]:
    """Add ``ids`` (``op=...``, ``vm=...``) to all lines logged inside, in tasks begun there too."""
    before = _about.get()
    token = _about.set((*before, *((name, value) for name, value in ids.items() if value)))
    try:
        yield
    finally:
        _about.reset(token)


class LineFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z INFO service.power op=1f... vm=2e...: text``."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        moment = f"{seconds}.{int(record.msecs):03d}Z"
        place = record.name.removeprefix("banger.")
        ids = "".join(f" {name}={value}" for name, value in _about.get())
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        # One entry is one line or an indented block, and holds nothing that a terminal obeys.
        safe = "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
        return f"{moment} {record.levelname} {place}{ids}: " + safe.replace("\n", "\n    ")


class PrivateFileHandler(RotatingFileHandler):
    """A rotating file that only its owner can read, whatever the umask."""

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

        file = open(  # noqa: SIM115 - the handler closes it
            self.baseFilename, self.mode, encoding="utf-8", errors="replace", opener=opener
        )
        assert isinstance(file, TextIOWrapper)  # noqa: S101 - a text mode gives no other
        return file


def set_up(path: Path, level: str = "info") -> logging.Handler:
    """Send all logging of this process to the file; ``tear_down`` undoes it."""
    handler = PrivateFileHandler(path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("banger").setLevel(level.upper())
    # asyncio is asked for debugging separately, and its chatter would drown ours.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    return handler


def tear_down(handler: logging.Handler) -> None:
    """Stop logging to the file of ``set_up`` and close it."""
    root = logging.getLogger()
    root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    for name in ("banger", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    handler.close()
