"""Sends batches of calls to the root side and turns its refusals into banger's errors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from banger.errors import BangerError, Conflict, HostNotReady, InternalError, PermissionRefused
from banger.host import sudo
from banger.host.threads import in_thread
from banger.privileged import installation
from banger.privileged.calls import Call, CallFailed, TapFacts

#: Seconds for the first sign of life.
_PATIENCE = 10.0


class Privilege:
    """The way to the root side: being root ourselves, or sudo and the installed program."""

    #: Programs that have answered, with the time of their last change: asking takes a while.
    _answered: ClassVar[dict[Path, int]] = {}

    def __init__(self, program: Path | None = None) -> None:
        self._program = program or installation.program()

    def available(self) -> bool:
        """Whether calls can be carried out at all (blocking; the first time up to seconds)."""
        return not self.obstacle()

    def obstacle(self) -> str:
        """Why no call can be carried out; empty if they can be."""
        if os.geteuid() == 0:
            return ""
        try:
            changed = self._program.stat().st_mtime_ns
        except OSError:
            return "banger does not run as root, and has no root side here"
        if self._answered.get(self._program) != changed:
            try:
                reply = sudo.ask(self._program, timeout=_PATIENCE)
            except BangerError as error:
                return f"{error.brief}: {error.cause}"
            if "error" in reply:
                return str(reply["error"].get("text", "the root side refuses"))
            self._answered[self._program] = changed
        return ""

    def require(self) -> None:
        """Raises ``PermissionRefused`` if there is no root side."""
        obstacle = self.obstacle()
        if obstacle:
            raise PermissionRefused(
                "this needs root, and banger runs as an ordinary user",
                cause=obstacle,
                resolution=f"{sudo.SETUP}, or create the VM with --network user",
            )

    async def call(self, batch: Sequence[Call]) -> list[TapFacts]:
        """Carry out the calls in order and return one result each.

        Raises ``PermissionRefused`` without a root side, ``Conflict`` if something foreign
        stands in the way, ``HostNotReady`` if the kernel refuses.
        """
        if os.geteuid() != 0:
            await in_thread(lambda _: self.require())
        try:
            if os.geteuid() != 0:
                return await in_thread(lambda stopped: sudo.perform(self._program, batch, stopped))
            # Imported here because ordinary users never need it.
            from banger.privileged.execute import perform

            return await in_thread(lambda _: perform(batch, os.getuid()))
        except CallFailed as failure:
            raise explain(failure) from failure


def explain(failure: CallFailed) -> BangerError:
    """The banger error for a failed call."""
    brief = "the root side could not do its part"
    match failure.reason:
        case "foreign":
            return Conflict(
                "a network interface of the VM is not ours to change",
                cause=failure.text,
                resolution="ip -details link show, then remove or rename what is in the way",
            )
        case "failed":
            return HostNotReady(brief, cause=failure.text, resolution="banger doctor")
        case _:
            return InternalError(f"{brief}: it refused the call", cause=failure.text)
