"""The host's client against the real agent, behind a socket as a VMM gives it."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from banger.drivers.guest import agent_dial, agent_session
from banger.drivers.guest.agent import AgentClient
from banger.drivers.guest.agent_dial import AGENT_VSOCK_PORT, dial_port, dial_vsock
from banger.drivers.guest.base import GuestCommand, GuestProcess
from banger.drivers.guest.guest import LinuxGuest
from banger.errors import DeadlineExceeded, VMMFailed
from tests.fakes.agent_port import AgentPort, ListeningAgent, VsockSocket, wait_until


@pytest.fixture
def port(tmp_path: Path) -> Iterator[AgentPort]:
    made = AgentPort(tmp_path / "agent.sock")
    yield made
    made.close()


@pytest.fixture
def vsock(tmp_path: Path) -> Iterator[VsockSocket]:
    """A vsock behind which an agent listens."""
    made = VsockSocket(tmp_path / "vsock.sock")
    agent = ListeningAgent(tmp_path / "listening.sock")
    made.ports[AGENT_VSOCK_PORT] = agent.path
    yield made
    made.close()
    agent.close()


@pytest.fixture(params=["port", "vsock"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AgentClient]:
    """A client on either way to an agent."""
    way = request.getfixturevalue(request.param)
    made = by_port(way.path) if request.param == "port" else by_vsock(way.path)
    yield made
    await made.close()


def by_port(path: Path) -> AgentClient:
    return AgentClient(functools.partial(dial_port, path))


def by_vsock(path: Path) -> AgentClient:
    return AgentClient(functools.partial(dial_vsock, path))


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


async def test_a_lost_agent_is_told_and_the_next_one_found(port: AgentPort) -> None:
    client = by_port(port.path)
    process = await client.execute(GuestCommand(("sleep", "60"), cwd="/"))
    reading = asyncio.create_task(collect(process))
    await client.ping(timeout=20)
    port.agents[0].kill()
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await reading
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await process.status()
    await process.close()
    assert (await client.ping(timeout=20))["commands"] == 0
    await client.close()


async def test_nobody_listens(tmp_path: Path) -> None:
    client = by_port(tmp_path / "agent.sock")
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
    client = by_port(path)
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
    client = by_port(port.path)
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
    client = by_port(tmp_path / "relay.sock")
    assert (await client.ping(timeout=20))["agent"] == 1
    await client.close()
    await end(server)
    port.close()


READY = b'{"type": "ready"}\n'


class ForgetfulAgent:
    """A port whose agent is started again: it knows nothing of what was said before."""

    def __init__(self, path: Path, *, lost: int, answers: int) -> None:
        self.path, self.lost, self.answers = path, lost, answers
        self.hellos = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = self.answers
        while line := await reader.readline():
            message = json.loads(line) if line.strip() else {}
            if message.get("type") == "hello":
                self.hellos += 1
                if self.hellos > self.lost:
                    writer.write(line)
                else:
                    writer.write(b'half of "ready"\n' + READY)
            elif message.get("type") == "ping":
                answers -= 1
                writer.write(line.replace(b'"ping"', b'"reply"') if answers >= 0 else READY)
        writer.close()


async def test_an_agent_that_is_ready_is_told_hello_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_session, "HELLO_PAUSE", 60)
    agent = ForgetfulAgent(tmp_path / "agent.sock", lost=3, answers=1)
    server = await asyncio.start_unix_server(agent.serve, agent.path)
    client = by_port(agent.path)
    assert await client.ping(timeout=20) == {}
    assert agent.hellos == 4
    await client.close()
    await end(server)


async def test_an_agent_that_was_started_again_ends_the_conversation(tmp_path: Path) -> None:
    agent = ForgetfulAgent(tmp_path / "agent.sock", lost=0, answers=1)
    server = await asyncio.start_unix_server(agent.serve, agent.path)
    client = by_port(agent.path)
    process = await client.execute(GuestCommand(("sleep", "60")))
    assert await client.ping(timeout=20) == {}
    with pytest.raises(VMMFailed, match="cannot be reached") as caught:
        await client.ping(timeout=20)
    assert caught.value.cause == "it has been started again"
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await process.status()
    assert await client.ping(timeout=20) == {}
    assert agent.hellos == 2
    await client.close()
    await end(server)


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
    client = by_port(path)
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


async def test_a_vsock_is_told_the_port_of_the_agent(vsock: VsockSocket) -> None:
    client = by_vsock(vsock.path)
    await client.ping(timeout=20)
    assert vsock.lines == [b"CONNECT 1023\n"]
    await client.close()


async def test_an_agent_that_comes_later_is_found(tmp_path: Path, vsock: VsockSocket) -> None:
    agents = vsock.ports.copy()
    vsock.ports.clear()
    client = by_vsock(vsock.path)
    with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
        await client.ping(timeout=0.2)
    assert len(vsock.lines) > 1
    vsock.ports.update(agents)
    assert (await client.ping(timeout=20))["agent"] == 1
    await client.close()


async def test_a_guest_without_a_driver_answers_nothing_and_is_asked_again(
    vsock: VsockSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_dial, "ANSWER_TIMEOUT", 0.1)
    vsock.deaf = True
    client = by_vsock(vsock.path)
    with pytest.raises(DeadlineExceeded):
        await client.ping(timeout=0.5)
    vsock.deaf = False
    assert (await client.ping(timeout=20))["agent"] == 1
    await client.close()


async def test_an_agent_that_has_ended_is_not_waited_for(
    vsock: VsockSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_dial, "RESTART", 0.1)
    vsock.ports.clear()
    client = LinuxGuest().connect(vsock.path, vsock=True)
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await client.shutdown(timeout=60)
    assert vsock.lines == [b"CONNECT 1023\n"] * 2
    # A guest that says nothing may have one.
    vsock.deaf = True
    with pytest.raises(DeadlineExceeded):
        await client.shutdown(timeout=0.3)
    await client.close()


async def test_a_vsock_of_a_vmm_that_is_gone(tmp_path: Path) -> None:
    client = by_vsock(tmp_path / "agent.sock")
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await client.ping(timeout=5)
    await client.close()


async def test_a_lost_connection_ends_its_commands_and_the_next_finds_the_same_agent(
    vsock: VsockSocket, tmp_path: Path
) -> None:
    client = by_vsock(vsock.path)
    trace = tmp_path / "hung-up"
    # The shell itself tells of the signal, without a program that a busy host starts too late, and
    # would die of a pipe that is closed.
    loop = f"exec 2>/dev/null; trap ': >{trace}; exit' HUP; echo ready"
    script = f"{loop}; while :; do sleep 0.05; done"
    process = await client.execute(GuestCommand(("sh", "-c", script), cwd="/"))
    assert (await anext(aiter(process.output()))).data == b"ready\n"
    vsock.drop_all()
    with pytest.raises(VMMFailed, match="cannot be reached"):
        await process.status()
    await process.close()
    assert (await client.ping(timeout=20))["commands"] == 0
    await asyncio.to_thread(wait_until, trace.exists)
    await client.close()


async def test_the_newest_client_is_served(vsock: VsockSocket) -> None:
    # A daemon that was killed may leave a connection whose end nobody has seen yet.
    first, second = by_vsock(vsock.path), by_vsock(vsock.path)
    left = await first.execute(GuestCommand(("sleep", "60"), cwd="/"))
    assert (await second.ping(timeout=20))["commands"] == 0
    with pytest.raises(VMMFailed):
        await left.status()
    assert (await second.ping(timeout=20))["commands"] == 0
    await first.close()
    await second.close()
