"""Sends batches of calls to the root side and turns its refusals into banger's errors."""

from __future__ import annotations

import os
from collections.abc import Sequence

from banger.errors import BangerError, Conflict, HostNotReady, InternalError, PermissionRefused
from banger.host.threads import in_thread
from banger.privileged.calls import Call, CallFailed, TapFacts


class Privilege:
    """The way to the root side. So far there is one: being root ourselves."""

    def available(self) -> bool:
        """Whether calls can be carried out at all."""
        return os.geteuid() == 0

    def require(self) -> None:
        """Raises ``PermissionRefused`` if there is no root side."""
        if not self.available():
            raise PermissionRefused(
                "this needs root, and banger runs as an ordinary user",
                cause="a TAP interface can only be made by root",
                resolution="create the VM with --network user, or run banger as root",
            )

    async def call(self, batch: Sequence[Call]) -> list[TapFacts]:
        """Carry out the calls in order and return one result each.

        Raises ``PermissionRefused`` without a root side, ``Conflict`` if something foreign
        stands in the way, ``HostNotReady`` if the kernel refuses.
        """
        self.require()
        # Imported here because it pulls in subprocess, which ordinary users never need.
        from banger.privileged.execute import perform

        try:
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
