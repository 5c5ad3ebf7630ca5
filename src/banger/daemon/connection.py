"""One client's connection: who may connect, and how much head, body and time it gets."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from http import HTTPStatus
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from banger.api.problems import Refusal
from banger.daemon.endpoint import problem_response
from banger.daemon.handlers.exec import PEER_GONE
from banger.errors import HostNotReady, InvalidInput

MAX_CONNECTIONS = 64
#: Bytes of request line and headers.
MAX_HEAD = 16 * 1024
#: Seconds for the head of a request to arrive.
HEAD_TIMEOUT = 10.0
#: ``struct ucred`` of unix(7): pid, uid, gid.
_UCRED = struct.Struct("3i")


class Connection(HttpToolsProtocol):
    """Checks the peer before any byte is parsed, and holds it to the limits."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._refused = False
        self._in_head = False
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(  # type: ignore[override] # as uvicorn has it: servers give a Transport
        self, transport: asyncio.Transport
    ) -> None:
        # ``connection_lost`` comes after an abort too, and works on it.
        self.transport = transport
        if peer_uid(transport) not in {0, os.geteuid()}:
            self._refused = True
            transport.abort()
            return
        if len(self.connections) >= 2 * MAX_CONNECTIONS:
            self._refused = True
            transport.abort()
            return
        if len(self.connections) >= MAX_CONNECTIONS:
            self.app = too_busy
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        super().data_received(data)
        # The parser hands out whole headers only and keeps an endless one to itself.
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._answer(head_refusal())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_size = 0
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_came()
        cast("dict[str, object]", self.scope)[PEER_GONE] = self._peer_gone
        # ": " and the line's end count, as they do while a head is incomplete.
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD:
            self.app = head_too_large
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem body too."""
        error = InvalidInput(
            "the request is not HTTP/1.1", cause=msg, resolution="see /openapi.json"
        )
        self._answer(Refusal(400, error))

    def _answer(self, refusal: Refusal) -> None:
        """Answer without a parsed request, and hang up."""
        response = problem_response(refusal)
        lines = [b"HTTP/1.1 %d %s" % (refusal.status, HTTPStatus(refusal.status).phrase.encode())]
        lines += [b"%s: %s" % header for header in response.raw_headers]
        lines += [b"connection: close", b"", bytes(response.body)]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing can be upgraded to, and the request is answered as it is."""

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.close)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _peer_gone(self) -> bool:
        """Whether the client has closed, though nothing is read from it at present."""
        if self.transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """The user at the other end of a Unix socket, as the kernel knows it; -1 if it does not."""
    try:
        raw = transport.get_extra_info("socket").getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size
        )
    except OSError:
        return -1
    return int(_UCRED.unpack(raw)[1])


async def too_busy(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers in place of the application when there are too many connections."""
    error = HostNotReady(
        "bangerd has too many connections",
        cause=f"{MAX_CONNECTIONS} are open",
        resolution="end some of the streams that follow events or logs, then try again",
    )
    await _refuse(Refusal(503, error, {"Connection": "close"}), scope, receive, send)


async def head_too_large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers in place of the application when the head is complete and too large."""
    refusal = head_refusal()
    refusal.headers["Connection"] = "close"
    await _refuse(refusal, scope, receive, send)


def head_refusal() -> Refusal:
    """The 431 refusal."""
    return Refusal(
        431,
        InvalidInput(
            "the head of the request is too large",
            cause=f"at most {MAX_HEAD} bytes are taken",
            resolution="see /openapi.json",
        ),
    )


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    response: ASGIApp = problem_response(refusal)
    await response(scope, receive, send)
