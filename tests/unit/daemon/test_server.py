"""The server on a real socket, with a small application behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from banger.daemon import connection, server
from banger.daemon.endpoint import answer
from banger.daemon.handlers.exec import PEER_GONE
from banger.daemon.listener import Listener
from banger.daemon.server import Server

GET = b"GET / HTTP/1.1\r\nHost: banger\r\n\r\n"


class Served:
    """A running server whose application answers with the path, or streams for ever."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stopping = asyncio.Event()
        self.seen: list[str] = []
        self.gone: list[bool] = []
        self.listener = Listener(path)
        self.task = asyncio.ensure_future(
            Server(self.application, self.listener, self.stopping).serve()
        )

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        if scope["path"] == "/stuck":
            while not scope[PEER_GONE]():  # noqa: ASYNC110 - what is tested is the polling
                await asyncio.sleep(0.01)
            self.gone.append(True)
        elif scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await self.stopping.wait()
            await send({"type": "http.response.body", "body": b"end", "more_body": False})
        else:
            await answer({"path": scope["path"]})(scope, receive, send)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path))

    async def ask(self, request: bytes) -> bytes:
        """Everything that comes back until the server hangs up or one answer is complete."""
        reader, writer = await self.connect()
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            head = b""
        body = b""
        for line in head.lower().splitlines():
            if line.startswith(b"content-length:"):
                body = await reader.readexactly(int(line.split(b":")[1]))
        writer.close()
        return head + body


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    # Below /tmp, since a socket's path is short.
    with tempfile.TemporaryDirectory(prefix="bgr-") as folder:
        made = Served(Path(folder, "bangerd.sock"))
        await asyncio.sleep(0)
        yield made
        made.stopping.set()
        await asyncio.wait_for(made.task, 5)
        made.listener.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def body(reply: bytes) -> Any:
    return json.loads(reply.partition(b"\r\n\r\n")[2])


async def test_only_the_owner_may_touch_the_socket(served: Served) -> None:
    status = served.path.stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert names(served.path.parent) == ["bangerd.sock"]
    assert b"200 OK" in await served.ask(GET)


async def test_a_foreign_user_gets_no_byte(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "peer_uid", lambda _: os.geteuid() + 1)
    assert await served.ask(GET) == b""
    assert not served.seen
    monkeypatch.setattr(connection, "peer_uid", lambda _: 0)
    assert b"200 OK" in await served.ask(GET)


async def test_the_kernel_knows_the_peer(served: Served) -> None:
    seen: list[int] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            seen.append(connection.peer_uid(transport))
            assert isinstance(transport, asyncio.Transport)
            transport.abort()

    path = served.path.with_name("other")
    async with await asyncio.get_running_loop().create_unix_server(Protocol, str(path)):
        reader, writer = await asyncio.open_unix_connection(str(path))
        await reader.read()
        writer.close()
    assert seen == [os.geteuid()]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000,
        b"GET /" + b"a" * 200_000,
    ],
)
async def test_a_large_head_is_refused(served: Served, head: bytes) -> None:
    reply = await served.ask(head)
    assert reply.startswith(b"HTTP/1.1 431 ")
    assert body(reply)["code"] == "invalid_input"
    assert not served.seen


@pytest.mark.parametrize(
    "noise",
    [
        b"nonsense\r\n\r\n",
        b"\x00\x01\x02",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem(served: Served, noise: bytes) -> None:
    reply = await served.ask(noise)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert body(reply)["status"] == 400
    assert b"200 OK" in await served.ask(GET)


async def test_an_upgrade_is_answered_as_it_is(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    request = b"GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert body(await served.ask(request)) == {"path": "/x"}
    assert not caplog.records


async def test_too_many_connections_are_told_so(served: Served) -> None:
    held = [await served.connect() for _ in range(connection.MAX_CONNECTIONS)]
    # The last is accepted when one before it has been answered.
    reader, writer = held[0]
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    reply = await served.ask(GET)
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert body(reply)["code"] == "host_not_ready"
    more = [await served.connect() for _ in range(connection.MAX_CONNECTIONS)]
    assert await served.ask(GET) == b""
    for _, each in (*held, *more):
        each.close()
    for _ in range(100):
        if b"200 OK" in await served.ask(GET):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the server did not recover")


async def test_who_says_nothing_is_hung_up_on(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.05)
    reader, writer = await served.connect()
    assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()
    reader, writer = await served.connect()
    writer.write(GET)
    await reader.readuntil(b"}")
    # One answered request does not buy time for an endless second one.
    writer.write(b"GET / HT")
    assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()


async def test_a_client_that_goes_is_seen_without_reading(served: Served) -> None:
    _, writer = await served.connect()
    head = b"POST /stuck HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head + b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
    await asyncio.sleep(0.1)
    assert served.seen == ["/stuck"]
    assert not served.gone
    writer.close()
    for _ in range(100):
        if served.gone:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the end of the client was not seen")


async def test_stopping_ends_open_streams_and_idle_connections(served: Served) -> None:
    streams = [await served.connect() for _ in range(3)]
    for _, writer in streams:
        writer.write(b"GET /stream HTTP/1.1\r\n\r\n")
    idle = await served.connect()
    for reader, _ in streams:
        await reader.readuntil(b"\r\n\r\n")
    began = asyncio.get_running_loop().time()
    served.stopping.set()
    await asyncio.wait_for(asyncio.shield(served.task), 2)
    assert asyncio.get_running_loop().time() - began < 2
    for reader, writer in (*streams, idle):
        await reader.read()
        writer.close()
    served.listener.close()
    assert not served.path.exists()


async def test_a_lost_socket_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_INTERVAL", 0.01)
    with tempfile.TemporaryDirectory(prefix="bgr-") as folder:
        path = Path(folder, "bangerd.sock")
        alone = Served(path)
        await asyncio.sleep(0.05)
        assert not alone.task.done()
        path.unlink()
        path.write_text("something else")
        await asyncio.wait_for(alone.task, 3)
        alone.listener.close()
        assert path.read_text() == "something else"


async def test_a_listener_takes_the_place_of_what_was_there() -> None:
    with tempfile.TemporaryDirectory(prefix="bgr-") as folder:
        path = Path(folder, "bangerd.sock")
        Path(folder, "sock.1").write_text("left by a killed daemon")
        first = Listener(path)
        second = Listener(path)
        assert not first.in_place()
        assert second.in_place()
        first.close()
        assert second.in_place()
        assert names(Path(folder)) == ["bangerd.sock"]
        second.close()
        assert names(Path(folder)) == []
