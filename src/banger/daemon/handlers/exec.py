"""The handler of commands in a guest: framed streams in both directions at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from banger.api import codec, frames, requests, routes
from banger.api.problems import Refusal
from banger.daemon.endpoint import BODY_TIMEOUT, Endpoint, read_query
from banger.daemon.ports import Services
from banger.daemon.stream import first_of, stream_head
from banger.drivers.guest.base import GuestCommand, GuestProcess
from banger.errors import BangerError, InternalError, InvalidInput

_log = logging.getLogger(__name__)
_CHANNELS = {"stdout": frames.STDOUT, "stderr": frames.STDERR}
#: The server's way to see a client go while nothing is read from it; see ``daemon.server``.
PEER_GONE = "banger.peer_gone"
_PEER_INTERVAL = 0.5


class Exec(Endpoint):
    """``/v1/vms/{ref}/exec``"""

    async def post(self, request: Request) -> ASGIApp:
        read_query(request)
        codec.check_media_type(request.headers.get("content-type", ""), routes.FRAMES)
        incoming = Incoming(self.receive)
        command = await read_command(incoming)
        process = await self.services.access.execute(request.path_params["ref"], command)
        return Exchange(self.services, process, incoming)


class Incoming:
    """The frames of the request, one by one."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._decoder = frames.Decoder(frozenset({frames.CONTROL, frames.STDIN}))
        self._ready: list[frames.Frame] = []
        self._more = True

    async def next(self) -> frames.Frame | None:
        """The next frame, ``None`` at the end. Raises ``ClientDisconnect``, ``InvalidInput``."""
        while not self._ready:
            if not self._more:
                if self._decoder.pending:
                    raise InvalidInput(
                        "the exec stream is malformed", cause="it ends within a frame"
                    )
                return None
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._more = message.get("more_body", False)
            self._ready = self._decoder.feed(message.get("body", b""))
        return self._ready.pop(0)

    async def until_gone(self) -> None:
        """Discard everything until the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def read_command(incoming: Incoming) -> GuestCommand:
    """The command in the first frame. Raises ``Refusal`` or ``InvalidInput``."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            first = await incoming.next()
    except TimeoutError:
        late = InvalidInput("the request did not say in time what to run", resolution="try again")
        raise Refusal(400, late, {"Connection": "close"}) from None
    if first is None or first.channel != frames.CONTROL:
        raise InvalidInput(
            "the exec stream is malformed",
            cause="it does not begin with a control frame that holds argv",
            resolution="see POST /v1/vms/{ref}/exec in /openapi.json",
        )
    start = codec.decode(first.payload, requests.ExecStart)
    return GuestCommand(tuple(start.argv), start.env, start.cwd)


class Exchange:
    """The running command and its client; whoever ends first ends the other."""

    def __init__(self, services: Services, process: GuestProcess, incoming: Incoming) -> None:
        self._services = services
        self._process = process
        self._incoming = incoming

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive  # the frames of the request are read through ``incoming``
        down = asyncio.ensure_future(self._down(send))
        up = asyncio.ensure_future(self._up())
        gone = asyncio.ensure_future(_peer_gone(scope.get(PEER_GONE)))
        try:
            await send(stream_head(routes.FRAMES))
            await first_of(down, up, gone, self._services.stopping())
            last = last_frame(down, up, gone)
        finally:
            await self._process.close()
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _down(self, send: Send) -> int:
        async for chunk in self._process.output():
            if chunk.data:
                body = frames.encode(_CHANNELS[chunk.channel], chunk.data)
                await send({"type": "http.response.body", "body": body, "more_body": True})
        return await self._process.status()

    async def _up(self) -> None:
        """Feed the command; ends only by an error or with the client."""
        stdin_open = True
        while (frame := await self._incoming.next()) is not None:
            if frame.channel == frames.CONTROL:
                asked = signal_asked(frame.payload)
                await self._process.signal(asked)
            elif stdin_open:
                stdin_open = bool(frame.payload)
                try:
                    await self._process.write(frame.payload)
                except BangerError:
                    # A command may end, or close its stdin, before all of it is sent.
                    stdin_open = False
        if stdin_open:
            await self._process.write(b"")
        await self._incoming.until_gone()
        raise ClientDisconnect


def signal_asked(payload: bytes) -> int:
    """The signal that a later control frame asks for. Raises ``InvalidInput``."""
    try:
        return codec.decode(payload, requests.ExecSignal).signal
    except Refusal as refusal:
        raise refusal.error from None


def last_frame(
    down: asyncio.Future[int], up: asyncio.Future[None], gone: asyncio.Future[None]
) -> bytes:
    """The final control frame, empty when there is nobody to read it."""
    if _ended(down) and down.exception() is None:
        return frames.encode_control({"exit": down.result()})
    for task in (down, up):
        error = task.exception() if _ended(task) else None
        if isinstance(error, ClientDisconnect):
            return b""
        if isinstance(error, BangerError):
            return frames.encode_control({"error": error.as_dict()})
        if error is not None:
            _log.error("exec met a defect", exc_info=error)
            defect = InternalError(
                "exec met a defect of banger",
                cause=f"{type(error).__name__}, with the traceback in the daemon's log",
                resolution="banger daemon logs",
            )
            return frames.encode_control({"error": defect.as_dict()})
    if _ended(gone):
        return b""
    ending = BangerError(
        "the command was ended", cause="bangerd is ending", resolution="run it again"
    )
    return frames.encode_control({"error": ending.as_dict()})


def _ended(task: asyncio.Future[int] | asyncio.Future[None]) -> bool:
    return task.done() and not task.cancelled()


async def _peer_gone(look: Callable[[], bool] | None) -> None:
    """Return when the client is gone, even while its frames wait to be read.

    A command that does not read its stdin keeps us from reading the socket, and then no
    end of it is seen.
    """
    while look is None or not look():  # noqa: ASYNC110 - the kernel has no event for this
        await asyncio.sleep(_PEER_INTERVAL)
