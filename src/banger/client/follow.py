"""Follows an operation to its end, across a restart of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import cast

from banger.client.client import BangerClient
from banger.client.events import ReceivedEvent, parse_events
from banger.client.transport import ConnectionCut, DaemonSilent
from banger.client.views import OperationView, ended
from banger.errors import BangerError, DeadlineExceeded, from_dict

#: Seconds for which a daemon that went away is awaited and started again.
PATIENCE = 30.0


def watch(
    client: BangerClient, operation_id: str = "", on_idle: Callable[[], None] | None = None
) -> Iterator[ReceivedEvent]:
    """The events of one operation until it ends, or of everything for ever."""
    target = "/v1/events" + (f"?operation={operation_id}" if operation_id else "")
    stream = client.stream(target, on_idle=on_idle)
    with closing(stream):
        yield from parse_events(stream)


def follow(
    client: BangerClient,
    operation_id: str,
    on_event: Callable[[ReceivedEvent], None],
    on_idle: Callable[[], None] | None = None,
) -> OperationView:
    """Hand every event of the operation to ``on_event`` and return it as it ended."""
    give_up = 0.0
    while True:
        try:
            for event in watch(client, operation_id, on_idle):
                give_up = 0.0
                on_event(event)
            operation = client.operation(operation_id, wait=10)
            if ended(operation):
                return operation
        except (ConnectionCut, DaemonSilent, DeadlineExceeded) as error:
            # The daemon was killed or replaced. The journal outlives it, and so a new one
            # either goes on with the operation or undoes it: follow that instead.
            now = time.monotonic()
            give_up = give_up or now + PATIENCE
            if client.revive is None or now > give_up:
                raise
            if not isinstance(error, DeadlineExceeded):
                client.revive()


def failure(operation: OperationView) -> BangerError | None:
    """The error of an operation that did not succeed, with where its log is."""
    if operation["status"] == "succeeded":
        return None
    fallback = {
        "code": "cancelled" if operation["status"] == "cancelled" else "failed",
        "brief": f"{operation['kind']} of {operation['target']['name']} {operation['status']}",
    }
    known = cast("dict[str, str]", dict(operation["error"] or {})) or fallback
    error = from_dict({key: value for key, value in known.items() if isinstance(value, str)})
    if operation.get("log"):
        error.details = f"{error.details}\nfull log: {operation['log']}".lstrip("\n")
    return error
