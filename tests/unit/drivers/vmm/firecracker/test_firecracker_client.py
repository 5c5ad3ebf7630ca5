"""The API client against replies that a healthy Firecracker never gives, and silence."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from banger.drivers.vmm.firecracker import bodies, client
from banger.drivers.vmm.firecracker.client import ApiGone, ApiRefused
from banger.errors import DeadlineExceeded, VMMFailed
from tests.fakes.firecracker_api import FakeApi


@contextlib.asynccontextmanager
async def answering(path: Path, reply: bytes) -> AsyncIterator[None]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_unix_server(accept, path)
    try:
        yield
    finally:
        server.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc \r\n\r\n",
        b"HTTP/1.1 200 \r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 \r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 \r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 \r\n" + b"x" * 70_000 + b"\r\n\r\n",
    ],
    ids=["ssh", "status", "length", "negative", "huge", "head"],
)
async def test_nonsense_is_an_error(tmp_path: Path, reply: bytes) -> None:
    async with answering(tmp_path / "s", reply):
        with pytest.raises(ApiRefused, match="GET /version"):
            await client.call(tmp_path / "s", bodies.GET_VERSION, timeout=5)


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n{"]
)
async def test_an_early_end_is_told_apart(tmp_path: Path, reply: bytes) -> None:
    async with answering(tmp_path / "s", reply):
        with pytest.raises(ApiGone) as caught:
            await client.call(tmp_path / "s", bodies.GET_VERSION, timeout=5)
    assert not caught.value.unsent


async def test_where_nobody_listens_nothing_was_sent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "bound"))
        for name in ("absent", "bound"):
            with pytest.raises(ApiGone) as caught:
                await client.call(tmp_path / name, bodies.START, timeout=5)
            assert caught.value.unsent


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"fault_message":"no"}', "no"),
        (b'{ "error": "bad\nthing" }', "bad\nthing"),
        (b"plain words", "plain words"),
        (b"[1]", "[1]"),
    ],
)
async def test_faults(tmp_path: Path, body: bytes, says: str) -> None:
    head = b"HTTP/1.1 400 \r\ncontent-length: %d\r\n\r\n" % len(body)
    async with answering(tmp_path / "s", head + body):
        with pytest.raises(ApiRefused) as caught:
            await client.call(tmp_path / "s", bodies.START, timeout=5)
    assert caught.value.fault_message == says
    assert caught.value.cause == says
    assert caught.value.status == 400
    assert isinstance(caught.value, VMMFailed)


async def test_a_silent_api_meets_its_deadline_and_its_reply_is_still_read(tmp_path: Path) -> None:
    fake = FakeApi(tmp_path)
    async with fake.serving(tmp_path / "s"):
        fake.silent.clear()
        with pytest.raises(DeadlineExceeded):
            await client.call(tmp_path / "s", bodies.GET_VERSION, timeout=0.05)
        assert fake.calls == [("GET", "/version")]
        assert len(client._abandoned) == 1
        fake.silent.set()
        async with asyncio.timeout(5):
            while client._abandoned:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)


async def test_a_cancelled_call_is_read_to_its_end(tmp_path: Path) -> None:
    fake = FakeApi(tmp_path)
    async with fake.serving(tmp_path / "s"):
        fake.silent.clear()
        calling = asyncio.create_task(client.call(tmp_path / "s", bodies.GET_INFO, timeout=5))
        async with asyncio.timeout(5):
            while not fake.calls:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert client._abandoned
        fake.silent.set()
        async with asyncio.timeout(5):
            while client._abandoned:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)
