"""Sends requests to an ASGI application in process, whole or as two open streams."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

Header = tuple[str, str]


@dataclass
class Reply:
    """What the application sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """One request under way: ``feed`` sends more of its body, ``more`` waits for the answer."""

    def __init__(
        self,
        app: ASGIApp,
        method: str,
        target: str,
        body: bytes | None = b"",
        headers: tuple[Header, ...] = (),
    ) -> None:
        path, _, query = target.partition("?")
        self.reply = Reply()
        self.complete = asyncio.Event()
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._changed = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
            "client": None,
            "server": None,
            "state": {},
        }
        if body is not None:
            self.feed(body, more=False)
        self.task = asyncio.ensure_future(app(scope, self._incoming.get, self._send))

    def feed(self, data: bytes, *, more: bool = True) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def disconnect(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.reply.status = message["status"]
            self.reply.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            self.reply.body += message.get("body", b"")
            if not message.get("more_body", False):
                self.complete.set()
        self._changed.set()

    async def until(self, piece: bytes, timeout: float = 5) -> bytes:
        """Wait until the body holds ``piece``; returns the body so far."""
        async with asyncio.timeout(timeout):
            while piece not in self.reply.body:
                self._changed.clear()
                await self._changed.wait()
        return self.reply.body

    async def end(self, timeout: float = 5) -> Reply:
        """Wait for the end of the answer."""
        async with asyncio.timeout(timeout):
            await self.task
        return self.reply


async def call(
    app: ASGIApp, method: str, target: str, body: object = None, *headers: Header
) -> Reply:
    """A whole request; ``body`` is JSON data, or bytes to be sent as they are."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    if data and not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("content-type", "application/json"))
    return await Exchange(app, method, target, data, headers).end()
