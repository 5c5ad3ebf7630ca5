"""Reads which version a Linux kernel is, out of its file."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

#: Offsets of a bzImage from the kernel's ``Documentation/arch/x86/boot.rst``: the magic number,
#: and where its version stands, counted from the end of the first sector.
_HEADER, _VERSION, _SECTOR = 0x202, 0x20E, 0x200
#: The longest version text (``uname`` holds 64 bytes with the final zero).
_LENGTH = 64
_BANNER = re.compile(rb"Linux version ([0-9]+\.[0-9A-Za-z.+~_-]{1,62})")


def kernel_version(path: Path) -> str:
    """As ``uname -r`` would say it; empty if the file does not tell. Raises ``OSError``."""
    with path.open("rb") as file:
        head = file.read(_SECTOR * 2)
        if head[_HEADER : _HEADER + 4] == b"HdrS":
            file.seek(_SECTOR + int.from_bytes(head[_VERSION : _VERSION + 2], "little"))
            words = file.read(_LENGTH).split(b"\0")[0].split()
            text = words[0].decode("ascii", "replace") if words else ""
            return text if text.isprintable() else ""
        if not head:
            return ""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = _BANNER.search(content)
            return found[1].decode("ascii") if found else ""
