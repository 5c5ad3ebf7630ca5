"""Stands where the host's resolver is told nothing, and says why."""

from __future__ import annotations

from banger.drivers.dns.base import Wanted
from banger.errors import HostNotReady


class Unwired:
    """Names can still be asked for at the server. Without a reason nobody wants them wired."""

    name = ""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def wire(self, wanted: Wanted) -> None:
        if wanted.links and self._reason:
            raise HostNotReady(
                "names are not wired to this host's resolver",
                cause=self._reason,
                resolution="banger doctor",
            )

    def leftover(self) -> bool:
        return False
