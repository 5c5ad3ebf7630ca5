"""Tells an archive that ``banger image export`` has written by its first bytes."""

from __future__ import annotations

import zlib
from pathlib import Path

from banger.host.files import explained

#: The name of the first file in it, as a tar's header begins.
FIRST = b"banger-image.json\0"
_GZIP = b"\x1f\x8b"
_HEAD = 4096


def is_ours(archive: Path) -> bool:
    """Whether the file begins as one of ours, in gzip or not; in zstd it cannot be told.

    Raises ``BangerError`` if it cannot be read.
    """
    if not archive.is_file():
        return False
    with explained(f"read {archive}"), archive.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, len(FIRST))
        except zlib.error:
            return False
    return head.startswith(FIRST)
