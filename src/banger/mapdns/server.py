"""The DNS server: UDP and TCP on one port, always answering from the records as they are now."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import Mapping
from typing import cast

from banger.errors import BangerError, Conflict, HostNotReady, PermissionRefused
from banger.mapdns.rate import Rate
from banger.mapdns.records import Record, Records

_log = logging.getLogger(__name__)
#: Where it listens by default: a loopback address of its own, apart from other resolvers.
ADDRESS = "127.0.0.153"
PORT = 53
#: For those who may not have port 53.
HIGH_PORT = 5353
MAX_CONNECTIONS = 64
#: Seconds a connection may stay silent (RFC 7766 asks for "a few").
IDLE_SECONDS = 5.0
#: With port 0 UDP takes what is free, and TCP must get the same.
_PORT_ATTEMPTS = 20
#: linux/in.h: listen on an address that the host is only about to get.
_IP_FREEBIND = 15


class Answers:
    """Answers packets of any source from the records, read again when the file has changed."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._rate = Rate()
        self._stamp: tuple[int, int, int] | None = None
        self._table: Mapping[str, Record] = {}

    def answer(self, packet: bytes, source: str, limit: int) -> bytes | None:
        """The answer, or ``None`` to stay silent."""
        if not self._rate.allows(source, time.monotonic()):
            return None
        # Imported late: who never serves does not pay for the library.
        from banger.mapdns.wire import respond

        return respond(packet, self.table(), limit=limit)

    def table(self) -> Mapping[str, Record]:
        """The records now; the last readable ones while the file is spoilt."""
        stamp = self._records.stamp()
        if stamp != self._stamp:
            # Before reading: a change while we read is then seen the next time.
            self._stamp = stamp
            try:
                self._table = self._records.read()
            except BangerError as error:
                _log.warning("%s: %s; the names from before stay", error.brief, error.cause)
        return self._table


class Server:
    """One listening address. ``answers`` may be shared by many."""

    def __init__(self, answers: Answers, address: str = ADDRESS, port: int = PORT) -> None:
        self._answers = answers
        self._connections: set[asyncio.Task[None]] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self.address = address
        self.port = port

    async def start(self) -> None:
        """Listen. Raises ``PermissionRefused``, ``Conflict`` or ``HostNotReady``."""
        wanted = self.port
        try:
            datagrams, stream = _sockets(self.address, wanted)
        except OSError as error:
            raise _explained(self.address, wanted, error) from error
        self.port = datagrams.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._answers), sock=datagrams
        )
        self._tcp = await asyncio.start_server(self._connected, sock=stream)

    async def close(self) -> None:
        """Stop listening and drop every connection; may be called twice."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._tcp is not None:
            await self._tcp.wait_closed()
        self._udp = self._tcp = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._tcp is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                await self._converse(reader, writer)
        except asyncio.CancelledError:
            pass  # by close() alone; the stream machinery would report it as a defect
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = str(writer.get_extra_info("peername")[0])
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                length = int.from_bytes(await reader.readexactly(2), "big")
                packet = await reader.readexactly(length)
            answer = self._answers.answer(packet, source, 0)
            if answer is None:
                return
            writer.write(len(answer).to_bytes(2, "big") + answer)
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    """Answers each datagram to where it came from."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loops' own classes do not all derive from the one that they promise.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        from banger.mapdns.wire import PLAIN_UDP

        answer = self._answers.answer(data, addr[0], PLAIN_UDP)
        # Port 0 cannot be sent to, and one that echoes would be a loop.
        if answer is not None and self._transport is not None and addr[1]:
            self._transport.sendto(answer, addr)


def _sockets(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for attempt in range(_PORT_ATTEMPTS):
        datagrams = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        stream = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET:
                for each in (datagrams, stream):
                    each.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            datagrams.bind((address, port))
            stream.bind((address, datagrams.getsockname()[1]))
            stream.listen(MAX_CONNECTIONS)
        except OSError as error:
            datagrams.close()
            stream.close()
            last = port or error.errno != errno.EADDRINUSE or attempt == _PORT_ATTEMPTS - 1
            if last:
                raise
        else:
            return datagrams, stream
    raise AssertionError("the loop returns or raises")


def _explained(address: str, port: int, error: OSError) -> BangerError:
    brief = f"the name server cannot listen on {address} port {port}"
    cause = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionRefused(
            brief,
            cause="ports below 1024 are root's",
            resolution=f"mapdns serve --port {HIGH_PORT}",
        )
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            brief, cause="another program listens there", resolution=f"ss -lnutp sport = :{port}"
        )
    return HostNotReady(brief, cause=cause, resolution=f"mapdns serve --address {ADDRESS}")
