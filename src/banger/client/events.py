"""Parses a ``text/event-stream`` into events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from banger.client.views import JSONObject

#: More than any event of the daemon; an event that grows beyond it is dropped.
MAX_EVENT = 8 * 1024 * 1024


class ReceivedEvent(NamedTuple):
    """One event: ``kind`` is vm, image, operation, step or log."""

    kind: str
    data: JSONObject


def parse_events(pieces: Iterable[bytes]) -> Iterator[ReceivedEvent]:
    """Yield the events in a stream cut anywhere; what is no JSON object is skipped."""
    kind = ""
    data: list[str] = []
    for line in _lines(pieces):
        if not line:
            event = _event(kind, data)
            if event is not None:
                yield event
            kind, data = "", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                kind = value
            elif field == "data":
                data.append(value)


def _event(kind: str, data: list[str]) -> ReceivedEvent | None:
    if not data:
        return None
    try:
        value = json.loads("\n".join(data))
    except ValueError:
        return None
    return ReceivedEvent(kind or "message", value) if isinstance(value, dict) else None


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")
        if len(rest) > MAX_EVENT:
            rest = b""
