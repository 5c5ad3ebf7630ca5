"""The server on real sockets of the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import dnslib
import pytest

from banger.errors import Conflict, HostNotReady
from banger.mapdns import server as module
from banger.mapdns.rate import BURST, SOURCES, Rate
from banger.mapdns.records import Records
from banger.mapdns.server import Answers, Server


@pytest.fixture
def records(tmp_path: Path) -> Records:
    records = Records(tmp_path / "mapdns" / "records.json")
    records.set("web", ["10.208.0.2"])
    return records


@pytest.fixture
async def server(records: Records) -> AsyncIterator[Server]:
    server = Server(Answers(records), "127.0.0.1", 0)
    await server.start()
    yield server
    await server.close()
    await server.close()


class _Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.answers.put_nowait(data)


async def ask_udp(server: Server, packet: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(
        _Client, remote_addr=(server.address, server.port)
    )
    try:
        transport.sendto(packet)
        async with asyncio.timeout(2):
            return await client.answers.get()
    finally:
        transport.close()


async def ask_tcp(server: Server, *packets: bytes) -> list[bytes]:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        answers = []
        for packet in packets:
            writer.write(len(packet).to_bytes(2, "big") + packet)
            length = int.from_bytes(await reader.readexactly(2), "big")
            answers.append(await reader.readexactly(length))
        return answers
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def question(name: str) -> bytes:
    return bytes(dnslib.DNSRecord.question(name).pack())


def found(answer: bytes) -> list[str]:
    return [str(entry.rdata) for entry in dnslib.DNSRecord.parse(answer).rr]


async def test_udp_and_tcp_answer_alike(server: Server) -> None:
    assert found(await ask_udp(server, question("web.vm"))) == ["10.208.0.2"]
    answers = await ask_tcp(server, question("web.vm"), question("none.vm"), question("web.vm"))
    assert [found(answer) for answer in answers] == [["10.208.0.2"], [], ["10.208.0.2"]]


async def test_changes_are_seen_at_once(server: Server, records: Records) -> None:
    assert found(await ask_udp(server, question("db.vm"))) == []
    records.set("db", ["10.208.0.6"])
    assert found(await ask_udp(server, question("db.vm"))) == ["10.208.0.6"]
    records.remove("db")
    assert found(await ask_udp(server, question("db.vm"))) == []


async def test_a_spoilt_file_keeps_the_names_from_before(server: Server, records: Records) -> None:
    assert found(await ask_udp(server, question("web.vm"))) == ["10.208.0.2"]
    records.path.write_text("{")
    assert found(await ask_udp(server, question("web.vm"))) == ["10.208.0.2"]
    records.path.unlink()
    assert found(await ask_udp(server, question("web.vm"))) == []


async def test_rubbish_stops_nothing(server: Server) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        _Client, remote_addr=(server.address, server.port)
    )
    for packet in (b"", b"x", bytes(12), b"\xff" * 600):
        transport.sendto(packet)
    transport.close()
    for data in (b"\xff\xff", b"\0\0", b"\0\x05hello"):
        reader, writer = await asyncio.open_connection(server.address, server.port)
        writer.write(data)
        writer.write_eof()
        await reader.read()
        await hang_up(writer)
    assert found(await ask_udp(server, question("web.vm"))) == ["10.208.0.2"]


async def test_a_silent_connection_is_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection(server.address, server.port)
    async with asyncio.timeout(2):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    await hang_up(writer)


async def test_connections_are_bounded(server: Server) -> None:
    held = [
        await asyncio.open_connection(server.address, server.port)
        for _ in range(module.MAX_CONNECTIONS)
    ]
    await asyncio.sleep(0.05)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await ask_tcp(server, question("web.vm"))
    for _, writer in held:
        await hang_up(writer)
    await asyncio.sleep(0.05)
    assert len(await ask_tcp(server, question("web.vm"))) == 1


async def test_one_source_cannot_ask_without_end(server: Server) -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await ask_tcp(server, *[question("web.vm")] * int(BURST * 3))


async def test_a_taken_port_is_explained(server: Server, records: Records) -> None:
    with pytest.raises(Conflict) as caught:
        await Server(Answers(records), server.address, server.port).start()
    assert f":{server.port}" in caught.value.resolution
    with pytest.raises(HostNotReady):
        await Server(Answers(records), "not-an-address.invalid", 0).start()


async def test_ending_frees_the_port(server: Server) -> None:
    _, writer = await asyncio.open_connection(server.address, server.port)
    await ask_tcp(server, question("web.vm"))  # so that the first has been accepted
    await server.close()
    await hang_up(writer)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((server.address, server.port))


def test_the_rate_refills_and_forgets() -> None:
    rate = Rate(per_second=10, burst=2)
    assert [rate.allows("a", 0.0) for _ in range(3)] == [True, True, False]
    assert rate.allows("b", 0.0)
    assert rate.allows("a", 0.1)
    assert not rate.allows("a", 0.1)
    for number in range(SOURCES):
        rate.allows(f"other {number}", 0.2)
    assert rate.allows("a", 0.2)
