"""The host's client against the real agent, behind a socket as a VMM gives it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from banger.drivers.guest import agent_session
from banger.drivers.guest.agent import AgentClient
from banger.drivers.guest.base import GuestCommand, GuestProcess
from banger.errors import DeadlineExceeded, VMMFailed
from tests.fakes.agent_port import AgentPort


@pytest.fixture
def port(tmp_path: Path) -> Iterator[AgentPort]:
    made = AgentPort(tmp_path / "agent.sock")
    yield made
    made.close()


@pytest.fixture
async def client(port: AgentPort) -> AsyncIterator[AgentClient]:
    made = AgentClient(port.path)
    yield made
    await made.close()


async def end(server: asyncio.Server) -> None:
    """Close it when all connections were accepted, and let them end."""
    await asyncio.sleep(0.1)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.05)


async def collect(process: GuestProcess) -> tuple[int, bytes, bytes]:
    output = {"stdout": b"", "stderr": b""}
    async for chunk in process.output():
        output[chunk.channel] += chunk.data
    return await process.status(), output["stdout"], output["stderr"]


async def test_ping(client: AgentClient) -> None:
    facts = await client.ping(timeout=20)
    assert facts["agent"] == 1
    assert "type" not in facts
    assert "id" not in facts


async def test_a_command(client: AgentClient) -> None:
    command = GuestCommand(("sh", "-c", "echo $A; cat; echo e >&2; exit 3"), {"A": "b"}, "/")
    process = await client.execute(command)
    await process.write(b"in\n")
    await process.write(b"")
    await process.write(b"")
    assert await collect(process) == (3, b"b\nin\n", b"e\n")
    assert await process.status() == 3
    await process.write(b"too late is dropped")
    await process.close()
    await process.close()


async def test_a_megabyte_each_way_while_another_command_is_not_read(client: AgentClient) -> None:
    stuck = await client.execute(GuestCommand(("cat", "/dev/zero"), cwd="/"))
    data = os.urandom(1 << 20)
    process = await client.execute(GuestCommand(("cat",), cwd="/"))

    async def feed() -> None:
        await process.write(data)
        await process.write(b"")

    feeding = asyncio.create_task(feed())
    assert await collect(process) == (0, data, b"")
    await feeding
    await stuck.close()
    with pytest.raises(Exception, match="given up"):
        await stuck.status()


async def test_write_waits_for_room(client: AgentClient) -> None:
    process = await client.execute(GuestCommand(("sleep", "60"), cwd="/"))
    writing = asyncio.create_task(process.write(bytes(1 << 20)))
    done, _ = await asyncio.wait([writing], timeout=0.3)
    assert not done
    await process.signal(15)
    assert await process.status() == 143
    await asyncio.wait_for(writing, 20)


async def test_many_at_once(client: AgentClient) -> None:
    async def one(number: int) -> tuple[int, bytes, bytes]:
        argv = ("sh", "-c", f"echo {number}; exit {number}")
        return await collect(await client.execute(GuestCommand(argv, cwd="/")))

    found = await asyncio.gather(*(one(number) for number in range(20)))
    assert found == [(number, f"{number}\n".encode(), b"") for number in range(20)]


async def test_a_lost_agent_is_told_and_the_next_one_found(
    client: AgentClient, port: AgentPort
) -> None:
    process = await client.execute(GuestCommand(("sleep", "60"), cwd="/"))
    reading = asyncio.create_task(collect(process))
    await client.ping(timeout=20)
    port.agents[0].kill()
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await reading
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await process.status()
    assert (await client.ping(timeout=20))["commands"] == 0


async def test_nobody_listens(tmp_path: Path) -> None:
    client = AgentClient(tmp_path / "agent.sock")
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await client.ping(timeout=5)
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await client.execute(GuestCommand(("true",)))
    await client.close()


async def test_silence_ends_with_the_deadline_and_the_greeting_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    connections = []
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        line = await reader.readline()
        await release.wait()
        writer.write(line.replace(b"hello", b"hello"))
        ping = await reader.readline()
        writer.write(ping.replace(b'"ping"', b'"reply"'))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(slow, path)
    client = AgentClient(path)
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
        await client.ping(timeout=0.2)
    assert time.monotonic() - start < 5
    release.set()
    assert await client.ping(timeout=10) == {}
    assert len(connections) == 1
    await client.close()
    await end(server)


async def test_leftovers_of_an_earlier_conversation_are_dropped(tmp_path: Path) -> None:
    garbage = b'half a line{"type":"exit"\n' + bytes(range(256)) * 2000 + b'\n{"type":"hello"}\n'
    port = AgentPort(tmp_path / "agent.sock", garbage=garbage)
    client = AgentClient(port.path)
    assert (await client.ping(timeout=20))["agent"] == 1
    await client.close()
    port.close()


async def test_a_hello_swallowed_by_a_payload_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_session, "HELLO_PAUSE", 0.1)
    # The agent believes itself in the middle of 30000 bytes that nobody will finish.
    path = tmp_path / "agent.sock"
    port = AgentPort(path)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)
        inner_writer.write(b'{"type":"data","id":1,"n":30000}\n')

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_unix_server(relay, tmp_path / "relay.sock")
    client = AgentClient(tmp_path / "relay.sock")
    assert (await client.ping(timeout=20))["agent"] == 1
    await client.close()
    await end(server)
    port.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"no message\n",
        b'{"type":"data","id":2,"channel":"stdout","n":99999999999}\n',
        b'{"type":"data","id":2,"channel":"other","n":1}\nx',
        b'{"type":"credit","id":2,"bytes":"many"}\n',
        b'{"type":"exit","id":2}\n',
        b"x" * (5 * 1024 * 1024),
        b"",
    ],
)
async def test_a_hostile_agent_ends_the_session_and_nothing_else(
    tmp_path: Path, answer: bytes
) -> None:
    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await reader.readline()
        writer.write(answer)
        if not answer:
            writer.close()
        await reader.read()
        writer.close()

    path = tmp_path / "agent.sock"
    server = await asyncio.start_unix_server(hostile, path)
    client = AgentClient(path)
    process = await client.execute(GuestCommand(("true",)))
    with pytest.raises(VMMFailed):
        await asyncio.wait_for(process.status(), 20)
    await client.close()
    await end(server)


async def test_requests_that_the_agent_refuses(client: AgentClient) -> None:
    session = await client._connected()
    with pytest.raises(VMMFailed, match="refused"):
        await asyncio.wait_for(session.request("dance"), 20)
    assert session.alive
