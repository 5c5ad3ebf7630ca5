"""Failpoints at every step boundary: no-ops unless a test arms them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable

from banger.errors import BangerError, InvalidInput

#: What an armed failpoint can do: die at once, fail, or hang for the given seconds.
VERBS = ("kill", "error", "delay")


class FailpointError(BangerError):
    """Raised by a failpoint that a test armed with ``error``."""

    code = "failpoint"


class Failpoints:
    """Armed points by name, e.g. ``vm.start.launch.after``.

    Each is ``NAME=VERB[:SECONDS]`` (the variable ``BANGER_FAILPOINTS``).
    """

    def __init__(self, points: Iterable[str] = ()) -> None:
        self._armed: dict[str, tuple[str, float]] = {}
        for part in points:
            name, _, action = part.partition("=")
            verb, _, seconds = action.partition(":")
            if verb not in VERBS:
                raise InvalidInput(
                    f"the failpoint {part!r} is malformed", cause=f"the verbs are {VERBS}"
                )
            self._armed[name] = (verb, float(seconds or 0))

    async def reach(self, name: str) -> None:
        """Called at each boundary; does what a test armed there."""
        armed = self._armed.get(name)
        if armed is None:
            return
        verb, seconds = armed
        if verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "error":
            raise FailpointError(f"failpoint {name} was reached")
        await asyncio.sleep(seconds)
