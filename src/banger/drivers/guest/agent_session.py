"""One conversation with an agent: greeting, requests by id, and the commands it runs."""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from banger.drivers.guest import agent_protocol as protocol
from banger.drivers.guest.agent_dial import Dial, lost
from banger.drivers.guest.agent_process import AgentProcess
from banger.drivers.guest.agent_protocol import Message
from banger.drivers.guest.base import GuestCommand
from banger.errors import BangerError, VMMFailed

#: Seconds of silence after which a hello is sent again, behind the filler.
HELLO_PAUSE = 1.0


class AgentSession:
    """An open socket that has been greeted. It ends once and for all."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._next_id = 1
        self._processes: dict[int, AgentProcess] = {}
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self._sending = asyncio.Lock()
        self._loss: BangerError | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, dial: Dial) -> AgentSession:
        """Connect and greet; returns when the agent has answered, however long that takes.

        Raises ``VMMFailed`` if nobody listens or the connection is closed.
        """
        session = cls(*await dial())
        try:
            await session._greet()
        except BaseException:
            await session.close()
            raise
        session._reading = asyncio.create_task(session._read())
        return session

    @property
    def alive(self) -> bool:
        """Whether the session can still be used."""
        return self._loss is None

    async def request(self, kind: str, **fields: object) -> Message:
        """Ask and wait for the reply. Raises ``VMMFailed`` when there can be none."""
        ident = self._new_id()
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[ident] = reply
        try:
            await self._send({"type": kind, "id": ident, **fields})
            return await reply
        finally:
            del self._replies[ident]

    async def execute(self, command: GuestCommand) -> AgentProcess:
        """Start a command; what goes wrong with it in the guest shows in its status."""
        ident = self._new_id()
        process = AgentProcess(ident, self._send, lambda i: self._forget(i))
        self._processes[ident] = process
        message = {"argv": list(command.argv), "env": command.env, "cwd": command.cwd}
        try:
            await self._send({"type": "exec", "id": ident, **message})
        except BaseException:
            self._forget(ident)
            raise
        return process

    async def close(self) -> None:
        """End it; every command in the guest is hung up on. Idempotent."""
        self._end(lost("the connection was closed"))
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _new_id(self) -> int:
        if self._loss is not None:
            raise self._loss
        self._next_id += 1
        return self._next_id

    def _forget(self, ident: int) -> None:
        self._processes.pop(ident, None)

    async def _send(self, message: Message, payload: bytes | None = None) -> None:
        async with self._sending:
            if self._loss is not None:
                raise self._loss
            try:
                self._writer.write(protocol.encode(message, payload))
                await self._writer.drain()
            except OSError as error:
                loss = lost(f"writing failed: {error.strerror or error}")
                self._end(loss)
                raise loss from error

    async def _greet(self) -> None:
        nonce = secrets.token_hex(16)
        hello = protocol.encode({"type": "hello", "nonce": nonce, "version": protocol.VERSION})
        answered = asyncio.create_task(self._read_until_hello(nonce, hello))
        try:
            self._writer.write(hello)
            await asyncio.wait([answered], timeout=HELLO_PAUSE)
            if not answered.done():
                # Once is enough: what the guest has not read yet it will still read, and an
                # agent that has dropped it says that it is ready.
                self._writer.write(protocol.FILLER + hello)
            await answered
        finally:
            answered.cancel()
            await asyncio.wait([answered])

    async def _read_until_hello(self, nonce: str, hello: bytes) -> None:
        """Return when the agent has answered; tell one that is ready once more."""
        while True:
            try:
                line = await self._reader.readuntil(b"\n")
                if protocol.is_hello(line, nonce):
                    return
                if protocol.is_ready(line):
                    self._writer.write(hello)
                    await self._writer.drain()
            except asyncio.LimitOverrunError as error:
                await self._reader.readexactly(error.consumed)
            except (asyncio.IncompleteReadError, OSError) as error:
                raise lost("the connection was closed during the greeting") from error

    async def _read(self) -> None:
        try:
            while True:
                line = await self._reader.readuntil(b"\n")
                if line == b"\n":
                    continue
                message, size = protocol.decode(line)
                payload = await self._reader.readexactly(size) if size else b""
                self._dispatch(message, payload)
        except (asyncio.IncompleteReadError, OSError):
            self._end(lost("the guest, or the port to it, is gone"))
        except (ValueError, KeyError, TypeError, asyncio.LimitOverrunError) as error:
            self._end(lost(f"the agent sent what is not part of the protocol: {error}"))

    def _dispatch(self, message: Message, payload: bytes) -> None:
        kind, ident = message["type"], message.get("id")
        if kind == "ready":
            self._end(lost("it has been started again"))
            return
        reply = self._replies.get(ident) if isinstance(ident, int) else None
        process = self._processes.get(ident) if isinstance(ident, int) else None
        if process is not None:
            process.received(message, payload)
        elif reply is not None and not reply.done():
            if kind == "error":
                reply.set_exception(_refused(str(message.get("message", ""))))
            else:
                reply.set_result(message)
        # Else it is a second answer to our hello, or belongs to a command that was given up.

    def _end(self, loss: BangerError) -> None:
        if self._loss is not None:
            return
        self._loss = loss
        self._writer.close()
        for process in list(self._processes.values()):
            process.lose(loss)
        self._processes.clear()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(loss)


def _refused(cause: str) -> VMMFailed:
    return VMMFailed(
        "the agent of the guest refused a request", cause=cause, resolution="banger logs NAME"
    )
