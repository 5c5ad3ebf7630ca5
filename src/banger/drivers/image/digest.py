"""The digest of a disk image by content, whatever part of it is holes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from banger.host.files import data_extents

BLOCK = 4096
_CHUNK = 1024 * BLOCK
_ZERO = bytes(BLOCK)


def content_sha256(image: Path) -> str:
    """SHA-256 over the offset (8 bytes, little end first) and content of each block not zero.

    Blocks are 4096 bytes, the last one padded with zeros; the file's size follows, 8 bytes.
    Holes and written zeros count alike, so copies agree however sparse they are, and the time
    depends on the content and not on the size: a plain digest of 8 GiB takes half a minute.
    """
    digest = hashlib.sha256()
    with image.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for position, chunk in _chunks(file.fileno(), size):
            for start in range(0, len(chunk), BLOCK):
                block = chunk[start : start + BLOCK].ljust(BLOCK, b"\0")
                if block != _ZERO:
                    digest.update((position + start).to_bytes(8, "little"))
                    digest.update(block)
    digest.update(size.to_bytes(8, "little"))
    return digest.hexdigest()


def _chunks(descriptor: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Whole blocks that hold data, each once and in order, many at a time."""
    done = 0
    for start, end in data_extents(descriptor, size):
        # A file system with smaller blocks may begin and end an extent inside one of ours.
        position = max(done, start - start % BLOCK)
        done = max(done, end + -end % BLOCK)
        while position < min(done, size):
            chunk = os.pread(descriptor, min(_CHUNK, done - position), position)
            if not chunk:
                return
            if len(chunk) % BLOCK and position + len(chunk) < size:
                chunk = chunk[: len(chunk) - len(chunk) % BLOCK]
            yield position, chunk
            position += len(chunk)
