"""In-process publish and subscribe, with bounded queues."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from msgspec import Struct

from banger.model.image import Image
from banger.model.operation import Operation
from banger.model.vm import VM

Subject = VM | Image | Operation | dict[str, object]

#: A subscriber that is this many events behind is cut off; it can ask for the state anew.
QUEUE_LIMIT = 4096


class Published(Struct, frozen=True):
    """``kind`` is vm, vm-deleted, image, image-deleted, operation, step, log or lost."""

    kind: str
    subject: Subject


class Subscription:
    """One listener's queue."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Published] = asyncio.Queue(QUEUE_LIMIT)
        self._lost = False

    async def get(self) -> Published:
        """The next event; kind ``lost`` means that the listener was too slow and is cut off."""
        return await self._queue.get()

    def offer(self, event: Published) -> None:
        if self._lost:
            return
        if self._queue.full():
            self._lost = True
            while not self._queue.empty():
                self._queue.get_nowait()
            event = Published("lost", {})
        self._queue.put_nowait(event)


class EventBus:
    """Hands every published event to every subscriber."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, kind: str, subject: Subject) -> None:
        for subscription in self._subscriptions:
            subscription.offer(Published(kind, subject))
