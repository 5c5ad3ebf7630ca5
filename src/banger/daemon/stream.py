"""An answer that goes on until its source, its reader or the daemon ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.types import Receive, Scope, Send


class Stream:
    """Sends ``pieces`` as they come; ``stopping`` returns when the daemon is about to end."""

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        media_type: str,
        stopping: Callable[[], Awaitable[object]],
    ) -> None:
        self._pieces = pieces
        self._media_type = media_type
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(stream_head(self._media_type))
        if scope["method"] != "HEAD":
            pump = asyncio.ensure_future(self._pump(send))
            await first_of(pump, disconnected(receive), self._stopping())
            if pump.done() and not pump.cancelled():
                pump.result()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        async for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})


def stream_head(media_type: str) -> dict[str, object]:
    """The head of a streamed answer; the connection ends with it."""
    headers = [
        (b"content-type", media_type.encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def disconnected(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def first_of(*waits: Awaitable[object]) -> None:
    """Wait until one of them is done and end the others, even when cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
