"""The frames of the exec stream: pure encoder and decoder.

A frame is one byte of channel, four bytes of big-endian length, and the payload. Channel 0
carries JSON control messages, 1 stdin (up) or stdout (down), 2 stderr (down only).
"""

from __future__ import annotations

import json
import struct
from typing import NamedTuple

from banger.errors import InvalidInput

CONTROL = 0
STDIN = 1
STDOUT = 1
STDERR = 2
#: Bytes of one payload. A peer that announces more is refused before anything is stored.
MAX_PAYLOAD = 1024 * 1024
_HEAD = struct.Struct("!BI")


class Frame(NamedTuple):
    """One piece of a stream."""

    channel: int
    payload: bytes


def encode(channel: int, payload: bytes) -> bytes:
    """The bytes of one or more frames that carry ``payload`` on ``channel``.

    An empty payload is one empty frame (the end of a stream); a long one is cut.
    """
    if len(payload) <= MAX_PAYLOAD:
        return _HEAD.pack(channel, len(payload)) + payload
    pieces = [payload[at : at + MAX_PAYLOAD] for at in range(0, len(payload), MAX_PAYLOAD)]
    return b"".join(_HEAD.pack(channel, len(piece)) + piece for piece in pieces)


def encode_control(message: dict[str, object]) -> bytes:
    """A control frame. Raises ``InvalidInput`` for a message that is longer than a frame."""
    payload = json.dumps(message, separators=(",", ":")).encode()
    if len(payload) > MAX_PAYLOAD:
        raise InvalidInput(
            "the command line is too long",
            cause=f"it takes {len(payload)} bytes, and {MAX_PAYLOAD} is the most",
            resolution="pass the data on standard input, or copy it as a file first",
        )
    return encode(CONTROL, payload)


def decode_control(payload: bytes) -> dict[str, object]:
    """The message of a control frame. Raises ``InvalidInput`` if it is no JSON object."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise _malformed("a control frame does not hold a JSON object")
    return message


class Decoder:
    """Bytes in any pieces become frames."""

    def __init__(self, channels: frozenset[int] = frozenset({CONTROL, STDIN, STDERR})) -> None:
        self._channels = channels
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun; not zero at the end means a cut stream."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Raises ``InvalidInput``; then feed no more."""
        buffer = self._buffer
        buffer += data
        frames = []
        at = 0
        while len(buffer) - at >= _HEAD.size:
            channel, length = _HEAD.unpack_from(buffer, at)
            if channel not in self._channels:
                raise _malformed(f"channel {channel} does not exist in this direction")
            if length > MAX_PAYLOAD:
                raise _malformed(f"a frame of {length} bytes, and {MAX_PAYLOAD} is the most")
            end = at + _HEAD.size + length
            if end > len(buffer):
                break
            frames.append(Frame(channel, bytes(buffer[at + _HEAD.size : end])))
            at = end
        del buffer[:at]
        return frames


def _malformed(cause: str) -> InvalidInput:
    return InvalidInput(
        "the exec stream is malformed",
        cause=cause,
        resolution="see POST /v1/vms/{ref}/exec in /openapi.json",
    )
