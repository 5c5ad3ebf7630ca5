"""Ways from the host to an agent: a socket that is its port, or one that leads to its vsock.

A Firecracker's vsock is a Unix socket. Who has sent ``CONNECT port`` reads ``OK number`` when
something in the guest listens there; where nothing does the connection is closed, and where the
guest has no driver yet, or is paused, nothing is answered at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from banger.drivers.guest import agent_protocol as protocol
from banger.errors import BangerError, VMMFailed

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
#: Makes a connection to the agent, however long that takes. Raises ``VMMFailed`` when there
#: can be none.
Dial = Callable[[], Awaitable[Streams]]

#: Where agents listen (``guest_files/agent/vsock.py``).
AGENT_VSOCK_PORT = 1023
#: Seconds for an answer, after which another connection is tried. Firecracker itself gives a
#: guest two.
ANSWER_TIMEOUT = 5.0
#: Seconds after which systemd would have started an agent again that has ended.
RESTART = 1.5
#: The pauses between two tries, in seconds, and by what they grow.
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.05, 0.15, 1.5


async def dial_port(socket: Path) -> Streams:
    """Connect to a socket that is the agent's port."""
    try:
        return await asyncio.open_unix_connection(socket, limit=protocol.SIZE_LIMIT)
    except OSError as error:
        raise lost(f"{socket.name} does not accept connections: {error.strerror}") from error


async def dial_vsock(socket: Path, port: int = AGENT_VSOCK_PORT) -> Streams:
    """Connect through a socket that leads to a vsock, when the agent listens there."""
    pause = _FIRST_PAUSE
    while True:
        reader, writer = await dial_port(socket)
        connected = False
        try:
            connected = await _connect(reader, writer, port)
        finally:
            if not connected:
                writer.close()
        if connected:
            return reader, writer
        await asyncio.sleep(pause)
        pause = min(_GROWTH * pause, _LONGEST_PAUSE)


async def vsock_refuses(socket: Path, port: int = AGENT_VSOCK_PORT) -> bool:
    """Whether no agent listens in the guest, and none does ``RESTART`` seconds later.

    A guest that does not answer is none that refuses. Raises ``VMMFailed`` without a VMM.
    """
    if not await _refused(socket, port):
        return False
    await asyncio.sleep(RESTART)
    return await _refused(socket, port)


async def _refused(socket: Path, port: int) -> bool:
    reader, writer = await dial_port(socket)
    try:
        return await _ask(reader, writer, port) == b""
    finally:
        writer.close()


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> bool:
    return (await _ask(reader, writer, port) or b"").startswith(b"OK ")


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
) -> bytes | None:
    """The line that is the answer; empty: the connection was closed; ``None``: nothing came."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.LimitOverrunError):
        async with asyncio.timeout(ANSWER_TIMEOUT):
            writer.write(f"CONNECT {port}\n".encode())
            return await reader.readline()
    return None


def lost(cause: str) -> BangerError:
    """The error for an agent that cannot be talked to."""
    return VMMFailed(
        "the agent of the guest cannot be reached",
        cause=cause,
        resolution="banger ls, then banger logs NAME",
    )
