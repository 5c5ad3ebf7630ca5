"""Encodes and decodes the frames of the exec stream: channel, length, payload."""

from __future__ import annotations

import struct
from collections.abc import Iterator

CONTROL = 0
#: Channel 1 is stdin on the way up and stdout on the way down.
STDIN = STDOUT = 1
STDERR = 2
#: A longer frame than any that is sent; it bounds the memory a faulty peer can claim.
MAX_FRAME = 16 * 1024 * 1024

_HEAD = struct.Struct(">BI")


def encode_frame(channel: int, payload: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(channel, len(payload)) + payload


class FrameDecoder:
    """Collects bytes and yields whole ``(channel, payload)`` frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the frames completed by ``data``; ``ValueError`` for one that is too long."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            channel, length = _HEAD.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield channel, payload
