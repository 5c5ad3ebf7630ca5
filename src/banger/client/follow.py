"""Follows an operation to its end, across a restart of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import cast

from banger.client.client import BangerClient
from banger.client.events import ReceivedEvent, parse_events
from banger.client.transport import NOT_THERE
from banger.client.views import OperationView, ended
from banger.errors import BangerError, DaemonUnreachable, DeadlineExceeded, from_dict

#: Seconds for which a daemon that says nothing is awaited, and after which one has lived long.
PATIENCE = 30.0
#: How many daemons are lost, none of which lived long, until it makes no sense to start another.
MOST_LOSSES = 5


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
    silent_since = 0.0
    losses = _Losses()
    while True:
        try:
            for event in watch(client, operation_id, on_idle):
                silent_since = 0.0
                on_event(event)
            operation = client.operation(operation_id, wait=10)
            if ended(operation):
                return operation
        except DeadlineExceeded:
            silent_since = silent_since or time.monotonic()
            if client.revive is None or time.monotonic() > silent_since + PATIENCE:
                raise
        except NOT_THERE as error:
            # The daemon was killed or replaced. The journal outlives it, and so a new one
            # either goes on with the operation or undoes it: follow that instead.
            if client.revive is None:
                raise
            losses.note(operation_id, error)
            client.revive()


class _Losses:
    """Counts daemons that were lost soon after another: what kills one may kill the next."""

    def __init__(self) -> None:
        self._count = 0
        self._last = 0.0

    def note(self, operation_id: str, error: BangerError) -> None:
        """One more is lost. Raises ``DaemonUnreachable`` if it is one too many."""
        now = time.monotonic()
        self._count = self._count + 1 if now < self._last + PATIENCE else 1
        self._last = now
        if self._count > MOST_LOSSES:
            raise DaemonUnreachable(
                f"bangerd ends again and again during the operation {operation_id}",
                cause=f"{self._count} of them were lost, one soon after the other",
                resolution="banger daemon logs",
            ) from error


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
