"""A part of an open file, read by position: nothing is opened by name, and no offset is shared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from banger.drivers.image.unpack.limits import Refused

CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Window:
    """``size`` bytes of the open file ``descriptor`` from ``offset`` on."""

    descriptor: int
    offset: int
    size: int

    def read(self, position: int, count: int) -> bytes:
        """Exactly so many bytes. Raises ``Refused`` if they are not there."""
        if position < 0 or count < 0 or position + count > self.size:
            raise Refused("it ends too early")
        parts = []
        while count:
            data = os.pread(self.descriptor, min(count, CHUNK), self.offset + position)
            if not data:
                raise Refused("it ends too early")
            parts.append(data)
            position += len(data)
            count -= len(data)
        return b"".join(parts)

    def part(self, position: int, size: int) -> Window:
        """A window in this one. Raises ``Refused`` if it would reach beyond."""
        if position < 0 or size < 0 or position + size > self.size:
            raise Refused("it ends too early")
        return Window(self.descriptor, self.offset + position, size)

    def chunks(self) -> Iterator[bytes]:
        """All of it, a piece at a time."""
        position = 0
        while position < self.size:
            data = self.read(position, min(CHUNK, self.size - position))
            yield data
            position += len(data)

    def sha256(self) -> str:
        """The digest of all of it, as hexadecimal digits."""
        digest = hashlib.sha256()
        for data in self.chunks():
            digest.update(data)
        return digest.hexdigest()


def whole(descriptor: int) -> Window:
    """All of a regular file."""
    return Window(descriptor, 0, os.fstat(descriptor).st_size)
