"""Calls Firecracker's API: in a row on one connection, and none is dropped before its reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from banger.drivers.vmm.firecracker.bodies import Request
from banger.errors import DeadlineExceeded, VMMFailed

#: Limits in bytes. The largest reply is the whole configuration with its metadata store.
_HEAD_LIMIT, _BODY_LIMIT = 16 * 1024, 1024 * 1024
_RESOLUTION = "banger logs NAME"
#: Exchanges that nobody waits for any more. Firecracker 1.12 dies of a reply that it cannot
#: deliver, so each is read to its end all the same.
_abandoned: set[asyncio.Task[list[dict[str, object]]]] = set()


class ApiRefused(VMMFailed):
    """Firecracker said no: the cause is its own reason (``fault_message``)."""

    code = "vmm_refused"
    #: The HTTP status; 0 for a reply that is no HTTP.
    status: int = 0

    @property
    def fault_message(self) -> str:
        return self.cause


class ApiGone(VMMFailed):
    """Nobody listens, or the process ended before it had replied."""

    code = "vmm_gone"
    #: Whether nothing was sent, so that nothing can have been done.
    unsent = False


def _refused(request: Request, status: int, fault_message: str) -> ApiRefused:
    error = ApiRefused(
        f"Firecracker refused {request.method} {request.path}",
        cause=fault_message or f"status {status}, without a reason",
        resolution=_RESOLUTION,
    )
    error.status = status
    return error


def _gone(request: Request, cause: str) -> ApiGone:
    return ApiGone(
        f"Firecracker's API is gone ({request.method} {request.path})",
        cause=cause,
        resolution=_RESOLUTION,
    )


async def call(socket: Path, request: Request, *, timeout: float) -> dict[str, object]:
    """Send one request and return the reply's object (empty where it has none).

    Raises ``ApiRefused``, ``ApiGone`` or, after ``timeout`` seconds, ``DeadlineExceeded``.
    After a deadline or a cancellation the exchange goes on unseen until its reply.
    """
    (reply,) = await calls(socket, (request,), timeout=timeout)
    return reply


async def calls(
    socket: Path, requests: Sequence[Request], *, timeout: float
) -> list[dict[str, object]]:
    """Send all requests at once and return their replies in order.

    Firecracker carries them out one after the other, also those behind one that it refuses.
    Raises as ``call`` does, for the first that failed; ``timeout`` is for all together.
    """
    exchange = asyncio.ensure_future(_exchange(socket, requests))
    try:
        async with asyncio.timeout(timeout):
            return await asyncio.shield(exchange)
    except TimeoutError as error:
        asked = " and ".join(f"{request.method} {request.path}" for request in requests[:2])
        raise DeadlineExceeded(
            f"Firecracker did not answer {asked} within {timeout:g} s",
            cause=f"nothing came from {socket}: the VMM hangs, or the host is overloaded",
            resolution="banger kill NAME",
        ) from error
    finally:
        if not exchange.done():
            _abandoned.add(exchange)
            exchange.add_done_callback(_forget)


def _forget(exchange: asyncio.Task[list[dict[str, object]]]) -> None:
    _abandoned.discard(exchange)
    if not exchange.cancelled():
        exchange.exception()  # seen, and of no interest any more


async def _exchange(socket: Path, requests: Sequence[Request]) -> list[dict[str, object]]:
    request = requests[0]
    try:
        reader, writer = await asyncio.open_unix_connection(socket, limit=_HEAD_LIMIT)
    except OSError as error:
        gone = _gone(request, f"{socket}: {error.strerror or error}")
        gone.unsent = True
        raise gone from error
    refused: ApiRefused | None = None
    documents = []
    try:
        writer.write(b"".join(map(render, requests)))
        await writer.drain()
        for request in requests:
            status, body = await _reply(reader)
            document = parse_body(body)
            if not 200 <= status < 300:
                # The replies behind it are still to be read.
                refused = refused or _refused(request, status, fault_of(document, body))
            documents.append(document)
    except (OSError, asyncio.IncompleteReadError) as error:
        raise refused or _gone(request, "it ended before it had replied") from error
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise refused or _refused(request, 0, f"its reply cannot be read: {error}") from error
    finally:
        # The replies are here, so nothing more is written to it: closing is safe now.
        writer.close()
    if refused is not None:
        raise refused
    return documents


def render(request: Request) -> bytes:
    """The bytes of the request."""
    document = request.document()
    body = b"" if document is None else json.dumps(document).encode()
    head = f"{request.method} {request.path} HTTP/1.1\r\nHost: localhost\r\n"
    if document is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def _reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status, length = parse_head(head)
    if length > _BODY_LIMIT:
        raise ValueError(f"it has {length} bytes")
    return status, await reader.readexactly(length)


def parse_head(head: bytes) -> tuple[int, int]:
    """Status and body length of a reply. Raises ``ValueError`` if it is no HTTP."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    # Firecracker gives no reason phrase: the line ends behind the number.
    number = rest.strip().split(" ")[0]
    if not version.startswith("HTTP/1.") or not number.isdigit():
        raise ValueError(f"it begins with {first[:60]!r}")
    length = 0
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            length = int(value)
    if length < 0:
        raise ValueError(f"its length is {length}")
    return int(number), length


def parse_body(body: bytes) -> dict[str, object]:
    """The object in a body; empty for anything else."""
    if not body:
        return {}
    try:
        # Faults of the HTTP kind hold bare newlines inside of strings.
        document = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def fault_of(document: dict[str, object], body: bytes) -> str:
    """The reason in an error's body: two shapes are in use."""
    for key in ("fault_message", "error"):
        text = document.get(key)
        if isinstance(text, str):
            return text
    return body.decode(errors="replace")[:500].strip()
