"""The host's end of one command in a guest: its streams, their credit and its status."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from banger.drivers.guest.agent_protocol import PIECE, WINDOW, Message
from banger.drivers.guest.base import Chunk
from banger.errors import BangerError

#: Sends one message with its payload; waits while the socket is full.
Send = Callable[[Message, "bytes | None"], Awaitable[None]]
_OUTPUTS = ("stdout", "stderr")


class AgentProcess:
    """Implements ``GuestProcess`` (see ``base``) over a session."""

    def __init__(self, ident: int, send: Send, forget: Callable[[int], None]) -> None:
        self._id = ident
        self._send = send
        self._forget = forget
        self._changed = asyncio.Event()
        self._chunks: deque[Chunk] = deque()
        self._open = set(_OUTPUTS)
        self._unreported = dict.fromkeys(_OUTPUTS, 0)
        self._credit = WINDOW
        self._status: int | None = None
        self._error: BangerError | None = None
        self._closed = False
        self._stdin_ended = False

    async def write(self, data: bytes) -> None:
        """Feed standard input; see ``base``. What a command that has ended gets is dropped."""
        view = memoryview(data)
        if not data:
            if not self._stdin_ended and not self._over():
                self._stdin_ended = True
                await self._send({"type": "data", "id": self._id}, b"")
            return
        while view and not self._stdin_ended:
            while self._credit <= 0 and not self._over():
                await self._change()
            if self._over():
                return
            piece = bytes(view[: min(PIECE, self._credit)])
            view = view[len(piece) :]
            self._credit -= len(piece)
            await self._send({"type": "data", "id": self._id}, piece)

    async def output(self) -> AsyncIterator[Chunk]:
        """The pieces as they come. Raises ``VMMFailed`` if the agent is lost on the way."""
        while True:
            while not self._chunks:
                if not self._open or self._closed:
                    return
                if self._error is not None:
                    raise self._error
                await self._change()
            chunk = self._chunks.popleft()
            await self._consumed(chunk)
            yield chunk

    async def status(self) -> int:
        """The exit status; see ``base``. Raises ``VMMFailed`` if it can never come."""
        while self._status is None:
            if self._error is not None:
                raise self._error
            await self._change()
        return self._status

    async def signal(self, number: int) -> None:
        """Send a signal to the command's process group."""
        if not self._over():
            await self._send({"type": "signal", "id": self._id, "signal": number}, None)

    async def close(self) -> None:
        """Give up; see ``base``."""
        if self._closed:
            return
        self._closed = True
        self._forget(self._id)
        running = self._status is None and self._error is None
        self.lose(BangerError("the command was given up"))
        if running or (self._open and self._error is None):
            await self._send({"type": "close", "id": self._id}, None)

    def received(self, message: Message, payload: bytes) -> None:
        """Take a message of this command from the session. Raises ``ValueError`` if odd."""
        kind = message["type"]
        if kind == "data":
            channel = message["channel"]
            if channel not in self._open:
                raise ValueError(f"data on the channel {channel!r}")
            if payload:
                self._chunks.append(Chunk(channel, payload))
            else:
                self._open.discard(channel)
        elif kind == "credit":
            self._credit += int(message["bytes"])
        elif kind == "exit":
            self._status = int(message["status"])
        elif kind == "error":
            self._error = BangerError(
                "the agent refused the command", cause=str(message.get("message", ""))
            )
        if self._status is not None and not self._open:
            self._forget(self._id)
        self._wake()

    def lose(self, error: BangerError) -> None:
        """The session has ended: nothing more will come."""
        if self._status is None and self._error is None:
            self._error = error
        self._wake()

    def _over(self) -> bool:
        return self._closed or self._status is not None or self._error is not None

    async def _consumed(self, chunk: Chunk) -> None:
        channel = chunk.channel
        self._unreported[channel] += len(chunk.data)
        # In portions: a message for each piece would double their number.
        if self._unreported[channel] >= WINDOW // 4 and channel in self._open and not self._closed:
            count, self._unreported[channel] = self._unreported[channel], 0
            message = {"type": "credit", "id": self._id, "channel": channel, "bytes": count}
            await self._send(message, None)

    async def _change(self) -> None:
        await self._changed.wait()

    def _wake(self) -> None:
        # Whoever waits now is woken; whoever waits later waits for the next change.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
