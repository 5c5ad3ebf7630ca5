"""The HTTP side of a fake Firecracker: its two shapes of faults, its limits, one Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fakes.firecracker_machine import Fault, Machine

MAX_CONNECTIONS, BODY_LIMIT = 10, 51_200


class FakeApi:
    """Serves one ``Machine``. ``calls`` lists what was asked; ``silent`` leaves calls open."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder)
        self.calls: list[tuple[str, str]] = []
        self.silent = asyncio.Event()
        self.silent.set()
        self._open = 0

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[FakeApi]:
        """Listen at ``path`` for the time of the block; the file stays, as with the real one."""
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_unix_server(accept, path)
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for vsock in self.machine.sockets:
                vsock.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= MAX_CONNECTIONS:
            writer.close()
            return
        self._open += 1
        try:
            while await self._request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open -= 1
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split("\r\n")[0].split(" ")
        length = 0
        for line in head.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        if method not in ("GET", "PUT", "PATCH"):
            return await _http_fault(writer, f"Invalid HTTP Method: {method}.")
        if length > BODY_LIMIT:
            return await _http_fault(writer, f"Payload too large: {length}.")
        body = await reader.readexactly(length)
        self.calls.append((method, path))
        await self.silent.wait()
        try:
            document = self.machine.handle(method, path, _parsed(body))
        except Fault as fault:
            await _reply(writer, 400, {"fault_message": str(fault)})
        else:
            await _reply(writer, 200 if document else 204, document)
        return True


def _parsed(body: bytes) -> dict[str, object] | None:
    if not body:
        return None
    try:
        document = json.loads(body)
    except ValueError as error:
        raise Fault(f"An error occurred when deserializing the json body: {error}") from error
    if not isinstance(document, dict):
        raise Fault("An error occurred when deserializing the json body: no object")
    return document


async def _http_fault(writer: asyncio.StreamWriter, what: str) -> bool:
    # A bare newline in the string, and so no JSON: as the real one has it.
    text = f'{{ "error": "{what}\nAll previous unanswered requests will be dropped." }}'
    await _send(writer, 400, text.encode())
    return False


async def _reply(writer: asyncio.StreamWriter, status: int, document: dict[str, object]) -> None:
    await _send(writer, status, json.dumps(document).encode() if document else b"")


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"\r\n" + body)
    await writer.drain()
