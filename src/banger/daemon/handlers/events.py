"""The handler of the event stream, with replay of one operation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.types import ASGIApp

from banger.api import codec, routes
from banger.daemon.endpoint import Endpoint, encode_operation, read_query
from banger.daemon.ports import Services
from banger.daemon.stream import Stream
from banger.daemon.views import view_image, view_step, view_vm
from banger.model.image import Image
from banger.model.operation import Operation
from banger.model.vm import VM
from banger.service.events import Published

#: Seconds after which a silent stream shows that it is alive.
KEEP_ALIVE = 15.0
_COMMENT = b": alive\n\n"


class Events(Endpoint):
    """``/v1/events``"""

    async def get(self, request: Request) -> ASGIApp:
        reference = read_query(request, "operation").get("operation")
        # An unknown operation must be refused before the head of the stream is out.
        followed = self.services.operations.get(reference).id if reference is not None else ""
        pieces = follow(self.services, followed)
        return Stream(pieces, routes.EVENT_STREAM, self.services.stopping)


async def follow(services: Services, operation_id: str) -> AsyncIterator[bytes]:
    """Encoded events; those of one operation, with replay, where an id is given."""
    with services.events.subscribe() as subscription:
        # No await between the subscription and the replay: nothing is lost or told twice.
        replayed = replay(services, operation_id) if operation_id else [_COMMENT]
        ended = bool(operation_id) and services.operations.get(operation_id).status.ended
        for piece in replayed:
            yield piece
        while not ended:
            try:
                event = await asyncio.wait_for(subscription.get(), KEEP_ALIVE)
            except TimeoutError:
                yield _COMMENT
                continue
            if not operation_id or event.kind == "lost" or concerns(event, operation_id):
                yield encode_event(event.kind, encode_subject(services, event))
            ended = event.kind == "lost" or (bool(operation_id) and _is_end(event, operation_id))


def replay(services: Services, operation_id: str) -> list[bytes]:
    """What happened so far; the state of an ended operation comes last, of another one first."""
    operation = services.operations.get(operation_id)
    titles = services.operations.titles(operation.kind)
    state = encode_event("operation", encode_operation(services, operation))
    steps = []
    for step in services.operations.steps(operation_id):
        view = view_step(step, titles)
        data = {
            "operation_id": operation_id,
            "position": view.position,
            "name": view.name,
            "title": view.title,
            "phase": view.phase,
        }
        steps.append(encode_event("step", codec.encode(data)))
    return [*steps, state] if operation.status.ended else [state, *steps]


def concerns(event: Published, operation_id: str) -> bool:
    """Whether the event is one of the operation's."""
    subject = event.subject
    if isinstance(subject, Operation):
        return subject.id == operation_id
    return isinstance(subject, dict) and subject.get("operation_id") == operation_id


def _is_end(event: Published, operation_id: str) -> bool:
    subject = event.subject
    return isinstance(subject, Operation) and subject.id == operation_id and subject.status.ended


def encode_subject(services: Services, event: Published) -> bytes:
    """The JSON of what an event is about, the same as its GET gives."""
    subject = event.subject
    if isinstance(subject, VM):
        return codec.encode(view_vm(services.vms.describe(subject), time.time()))
    if isinstance(subject, Image):
        return codec.encode(view_image(services.images.describe(subject)))
    if isinstance(subject, Operation):
        return encode_operation(services, subject)
    return codec.encode(subject)


def encode_event(kind: str, data: bytes) -> bytes:
    """One server-sent event. The JSON holds no line break, so it is one data line."""
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
