"""Identifies the installed source, so that a daemon of another build can be told and replaced."""

from __future__ import annotations

import os
from binascii import crc32

from banger import __version__


def build_id(root: str = "") -> str:
    """A digest of path, size and modification time of every file of the package.

    The daemon computes it once when it starts, the client for each command; so the digest is
    a checksum of what ``stat`` tells (about a millisecond) and not of the contents.
    """
    top = root or os.path.dirname(__file__)  # noqa: PTH120 - pathlib would cost ten times as much
    entries: list[str] = []
    folders = [top]
    while folders:
        with os.scandir(folders.pop()) as listing:
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        folders.append(entry.path)
                elif not entry.name.startswith("."):
                    status = entry.stat()
                    name = entry.path[len(top) :]
                    entries.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    entries.sort()
    return f"{__version__}-{crc32(chr(10).join(entries).encode()):08x}"
