"""The messages between host and agent: one JSON line each, some with raw bytes behind it.

``{"type": T, "id": N, ...}\\n``; with ``"n": K`` exactly K bytes follow the newline. The host
chooses the ids. Many commands share the port, so no side may make the other wait: each stream
has ``WINDOW`` bytes of credit, and the receiver gives credit back as data is consumed.

==========  =======================================  =====================================
type        host to guest                            guest to host
==========  =======================================  =====================================
hello       nonce, version                           nonce, version
exec        id, argv, env, cwd
data        id, n: standard input; n 0 ends it       id, channel, n: output; n 0 ends it
credit      id, channel, bytes: output consumed      id, bytes: standard input consumed
signal      id, signal: to the process group
close       id: hang up (SIGHUP, later SIGKILL)
exit                                                 id, status (128 + n for a signal)
ping        id                                       reply with facts
shutdown    id                                       reply once power-off has begun
set_clock   id, time (Unix seconds)                  reply
ready                                                what was said before is not known
reply                                                id, the answer's fields
error                                                id, message
==========  =======================================  =====================================

A conversation begins with ``hello``. Bytes of an earlier one may still be under way in both
directions, so the host drops everything up to the line that repeats its nonce, and an agent
that gets ``hello`` hangs up on all commands and starts anew. ``FILLER`` completes a payload
whose end will never come: without it an agent might take a hello for a part of that payload.

An agent at a port, which tells nobody of an agent that has ended, says ``ready`` when it begins
to serve a host that it does not know. To a host that is about to greet it means: say hello again,
the last one may be lost; to one that has greeted: the conversation is over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

VERSION = 1
#: Bytes of one stream that may be under way without being consumed, in each direction.
WINDOW = 256 * 1024
#: The most standard input in one message; small enough that streams take turns.
PIECE = 32 * 1024
#: A longer line, or payload, is not a message.
SIZE_LIMIT = 4 * 1024 * 1024
#: An empty line, which agents ignore, longer than one piece of standard input.
FILLER = b" " * PIECE + b"\n"

Message = dict[str, Any]


class ProtocolError(ValueError):
    """The other side sent what cannot be a message."""


def encode(message: Mapping[str, object], payload: bytes | None = None) -> bytes:
    """The bytes of one message. Arguments that are not UTF-8 travel as surrogates."""
    if payload is None:
        return json.dumps(message).encode() + b"\n"
    return json.dumps({**message, "n": len(payload)}).encode() + b"\n" + payload


def decode(line: bytes) -> tuple[Message, int]:
    """A line as message and size of the payload behind it. Raises ``ProtocolError``."""
    try:
        message = json.loads(line)
        size = int(message.get("n", 0))
        if not isinstance(message["type"], str):
            raise TypeError("the type is no text")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"not a message: {line[:80]!r}") from error
    if not 0 <= size <= SIZE_LIMIT:
        raise ProtocolError(f"a payload of {size} bytes")
    return message, size


def is_hello(line: bytes, nonce: str) -> bool:
    """Whether the line is the agent's answer to the hello with this nonce."""
    if nonce.encode() not in line:
        return False
    message = _message_in(line)
    return message.get("type") == "hello" and message.get("nonce") == nonce


def is_ready(line: bytes) -> bool:
    """Whether the line tells of an agent that waits for a hello."""
    return b'"ready"' in line and _message_in(line).get("type") == "ready"


def _message_in(line: bytes) -> Message:
    """The message; an empty one if it is none."""
    try:
        return decode(line)[0]
    except ProtocolError:
        return {}
