"""Reads and writes the kernel's small files, below /proc and /sys, by as few calls as it takes.

``Path.read_text`` takes eight calls, each of which lets another thread have the interpreter.
"""

from __future__ import annotations

import os

#: More than any of them holds: the kernel gives such a value in one piece.
_MOST = 4096


def value(path: str | os.PathLike[str]) -> str:
    """What the file holds, without the blanks around it. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST).decode(errors="replace").strip()
    finally:
        os.close(descriptor)


def change(path: str | os.PathLike[str], wanted: str) -> None:
    """Write the value into a file that is there. Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, wanted.encode())
    finally:
        os.close(descriptor)
