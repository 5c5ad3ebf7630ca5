"""The host's client of an agent: connects when first used, and anew after a loss."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from banger.drivers.guest.agent_dial import Dial, lost
from banger.drivers.guest.agent_session import AgentSession
from banger.drivers.guest.base import GuestCommand, GuestProcess
from banger.errors import BangerError, DeadlineExceeded, VMMFailed

#: Seconds for a running agent to answer a greeting when a command is to be started: enough
#: for a guest that is busy or swapped out on a loaded host.
GREETING_TIMEOUT = 15.0


class AgentClient:
    """Implements ``GuestAgent`` (see ``base``) over connections that ``dial`` makes.

    ``refuses`` tells whether it is certain that no agent is there, where that can be told.
    """

    def __init__(self, dial: Dial, refuses: Callable[[], Awaitable[bool]] | None = None) -> None:
        self._dial = dial
        self._refuses = refuses
        self._session: AgentSession | None = None
        self._opening: asyncio.Task[AgentSession] | None = None

    async def ping(self, *, timeout: float) -> dict[str, object]:
        """Facts of the guest. Raises ``DeadlineExceeded``, or ``VMMFailed`` if it is gone."""
        async with self._deadline(timeout, "answer"):
            reply = await (await self._connected()).request("ping")
        return {name: value for name, value in reply.items() if name not in ("type", "id")}

    async def execute(self, command: GuestCommand) -> GuestProcess:
        """Start a command. Raises ``VMMFailed`` if the agent is gone."""
        async with self._deadline(GREETING_TIMEOUT, "answer"):
            session = await self._connected()
        return await session.execute(command)

    async def shutdown(self, *, timeout: float) -> None:
        """Ask the guest to power off; returns when it has begun to.

        Raises ``VMMFailed`` at once, not when the time is over, if no agent can be there.
        """
        async with self._deadline(timeout, "agree to power off"):
            if not self._is_connected() and self._refuses is not None and await self._refuses():
                raise lost("it has ended, and nothing has started it again")
            session = await self._connected()
            try:
                await session.request("shutdown")
            except VMMFailed:
                # A guest that was quick to obey takes the port away before the reply.
                if session.alive:
                    raise

    async def set_clock(self, seconds: int, *, timeout: float) -> None:
        """Set the guest's clock to a Unix time."""
        async with self._deadline(timeout, "set its clock"):
            await (await self._connected()).request("set_clock", time=seconds)

    async def close(self) -> None:
        """Drop the connection; commands that still run are hung up on. Idempotent."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
            if not self._opening.cancelled() and self._opening.exception() is None:
                await self._opening.result().close()
            self._opening = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _is_connected(self) -> bool:
        return self._session is not None and self._session.alive

    async def _connected(self) -> AgentSession:
        if self._session is not None and self._session.alive:
            return self._session
        if self._session is not None:
            await self._session.close()
            self._session = None
        # The greeting outlives a caller's deadline: a guest that boots answers the first one
        # that waits for it, and a new connection for every attempt would only confuse it.
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(AgentSession.open(self._dial))
        opening = self._opening
        self._session = await asyncio.shield(opening)
        self._opening = None
        return self._session

    @contextlib.asynccontextmanager
    async def _deadline(self, seconds: float, action: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise self._too_late(seconds, action) from error

    def _too_late(self, seconds: float, action: str) -> BangerError:
        return DeadlineExceeded(
            f"the agent of the guest did not {action} within {seconds:g} s",
            cause="the guest boots, is paused, is very busy, or has no python3",
            resolution="banger logs NAME",
        )
