"""A client of QEMU's machine protocol (QMP): one connection, one command at a time, deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from banger.errors import DeadlineExceeded, VMMFailed

#: The longest line accepted, in bytes; a reply to the commands used here has a few hundred.
_LINE_LIMIT = 1024 * 1024
_RESOLUTION = "banger logs NAME"


class Monitor:
    """A negotiated connection. Make one with ``connected``.

    Every failure is ``VMMFailed`` (the VMM refused, or closed the connection) or
    ``DeadlineExceeded``; after the latter the connection is of no more use.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._last_id = 0

    async def execute(
        self, command: str, arguments: dict[str, object] | None = None
    ) -> dict[str, object]:
        """Run a command and return what it gave back (empty if that is no object)."""
        result = await self._returned(command, arguments)
        return result if isinstance(result, dict) else {}

    async def _returned(self, command: str, arguments: dict[str, object] | None) -> object:
        self._last_id += 1
        request: dict[str, object] = {"execute": command, "id": self._last_id}
        if arguments:
            request["arguments"] = arguments
        try:
            self._writer.write(json.dumps(request).encode() + b"\n")
            await self._writer.drain()
        except OSError as error:
            raise _closed(command) from error
        while True:
            reply = await self._message(command)
            if reply.get("id") != self._last_id:
                continue  # an event, or the late answer to something given up
            if "error" in reply:
                raise _refused(command, reply["error"])
            return reply.get("return")

    async def query(self, command: str) -> object:
        """Run a command without arguments and return what it gave back, whatever that is."""
        return await self._returned(command, None)

    async def human(self, line: str) -> str:
        """Run a line of the human monitor and return what it prints, as a rule nothing."""
        answer = await self._returned("human-monitor-command", {"command-line": line})
        return answer if isinstance(answer, str) else ""

    async def status(self) -> str:
        """The run state: ``running``, ``paused``, ``prelaunch``, ``io-error``, ..."""
        return str((await self.execute("query-status")).get("status", ""))

    async def event(self, name: str) -> dict[str, object]:
        """Wait for the next event of this name and return its data."""
        while True:
            message = await self._message(name)
            if message.get("event") == name:
                data = message.get("data")
                return data if isinstance(data, dict) else {}

    async def greet(self) -> None:
        """Wait for the VMM's greeting and leave the negotiation phase."""
        while "QMP" not in await self._message("greeting"):
            pass
        await self.execute("qmp_capabilities")

    async def _message(self, command: str) -> dict[str, object]:
        """The next JSON object; anything else on the line is skipped."""
        while True:
            try:
                line = await self._reader.readline()
            except ValueError as error:
                raise VMMFailed(
                    "the VMM's monitor sent nonsense",
                    cause=f"a line of more than {_LINE_LIMIT} bytes",
                    resolution=_RESOLUTION,
                ) from error
            except OSError as error:
                raise _closed(command) from error
            if not line:
                raise _closed(command)
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict):
                return message


@contextlib.asynccontextmanager
async def connected(socket: Path, *, timeout: float) -> AsyncIterator[Monitor]:
    """Connect to the monitor for the time of the block; all of it must end in ``timeout`` s."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            try:
                reader, writer = await asyncio.open_unix_connection(socket, limit=_LINE_LIMIT)
            except OSError as error:
                raise _closed("connect") from error
            monitor = Monitor(reader, writer)
            await monitor.greet()
            yield monitor
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"the VMM's monitor did not answer within {timeout:g} s",
            cause=f"nothing came from {socket}: the VMM hangs, or the host is overloaded",
            resolution="banger kill NAME",
        ) from error
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _closed(command: str) -> VMMFailed:
    return VMMFailed(
        f"the VMM's monitor is gone ({command})",
        cause="the VMM ended or closed the connection",
        resolution=_RESOLUTION,
    )


def _refused(command: str, error: object) -> VMMFailed:
    text = str(error.get("desc", "")) if isinstance(error, dict) else ""
    return VMMFailed(
        f"the VMM refused {command}", cause=text or "it gave no reason", resolution=_RESOLUTION
    )
