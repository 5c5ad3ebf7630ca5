"""The QMP client against a server that answers as the test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from banger.drivers.vmm.qemu.monitor import Monitor, connected
from banger.errors import DeadlineExceeded, VMMFailed

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n'


@contextlib.asynccontextmanager
async def serving(path: Path, answer: Answer) -> AsyncIterator[Path]:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(one, path)
    try:
        yield path
    finally:
        server.close()
        await server.wait_closed()


def answering(*replies: str | bytes, before: bytes = GREETING) -> Answer:
    """Greets, then answers command after command with the replies (%ID% is the request's id)."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        for reply in ('{"return": {}, "id": %ID%}\n', *replies):
            request = json.loads(await reader.readline())
            data = reply.encode() if isinstance(reply, str) else reply
            writer.write(data.replace(b"%ID%", str(request["id"]).encode()))
            await writer.drain()
        await reader.read()

    return answer


@contextlib.asynccontextmanager
async def talking(
    folder: Path, *replies: str | bytes, before: bytes = GREETING, timeout: float = 5
) -> AsyncIterator[Monitor]:
    """A client of a server that gives these replies."""
    answer = answering(*replies, before=before)
    async with serving(folder / "s", answer) as path, connected(path, timeout=timeout) as monitor:
        yield monitor


async def test_a_reply_is_returned(tmp_path: Path) -> None:
    reply = '{"return": {"status": "running"}, "id": %ID%}\n'
    async with talking(tmp_path, reply) as monitor:
        assert await monitor.status() == "running"


async def test_events_late_answers_and_garbage_are_passed_over(tmp_path: Path) -> None:
    reply = (
        '{"event": "STOP"}\n\nnot json\n[1, 2]\n"x"\n{"return": {"status": "old"}, "id": 1}\n'
        '{"return": {"status": "paused"}, "id": %ID%}\n'
    )
    noise = b'\xff\xfe\n{"event": "EARLY"}\n' + GREETING
    async with talking(tmp_path, reply, before=noise) as monitor:
        assert await monitor.status() == "paused"


async def test_a_result_that_is_no_object_is_empty(tmp_path: Path) -> None:
    async with talking(tmp_path, '{"return": [1], "id": %ID%}\n') as monitor:
        assert await monitor.execute("x", {"a": 1}) == {}


async def test_an_event_is_awaited(tmp_path: Path) -> None:
    reply = '{"return": {}, "id": %ID%}\n{"event": "A"}\n{"event": "B", "data": {"x": 1}}\n'
    async with talking(tmp_path, reply) as monitor:
        await monitor.execute("cont")
        assert await monitor.event("B") == {"x": 1}


@pytest.mark.parametrize(
    ("error", "cause"),
    [('{"desc": "not now"}', "not now"), ('"odd"', "it gave no reason")],
)
async def test_a_refusal_has_the_words_of_the_vmm(tmp_path: Path, error: str, cause: str) -> None:
    async with talking(tmp_path, f'{{"error": {error}, "id": %ID%}}\n') as monitor:
        with pytest.raises(VMMFailed, match="refused stop") as caught:
            await monitor.execute("stop")
    assert caught.value.cause == cause


async def test_silence_ends_at_the_deadline(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(tmp_path / "s", silent) as path:
        with pytest.raises(DeadlineExceeded):
            async with connected(path, timeout=0.05):
                pass


async def test_silence_after_the_greeting_ends_at_the_deadline(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded):
        async with talking(tmp_path, '{"event": "NOISE"}\n', timeout=0.2) as monitor:
            await monitor.execute("query-status")


async def test_a_closed_connection_is_a_failure(tmp_path: Path) -> None:
    async def leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING[:10])

    async with serving(tmp_path / "s", leaving) as path:
        with pytest.raises(VMMFailed, match="gone"):
            async with connected(path, timeout=5):
                pass


async def test_an_endless_line_is_a_failure(tmp_path: Path) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(tmp_path / "s", endless) as path:
        with pytest.raises(VMMFailed, match="nonsense"):
            async with connected(path, timeout=10):
                pass


async def test_no_socket_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(VMMFailed, match="gone"):
        async with connected(tmp_path / "none", timeout=5):
            pass


async def test_a_failure_inside_the_block_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        async with talking(tmp_path):
            raise LookupError
