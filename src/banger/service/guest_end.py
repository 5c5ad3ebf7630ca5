"""A command in a guest whose end may be the end of the guest: tells the one from the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from banger.drivers.guest.base import Chunk, GuestCommand, GuestProcess
from banger.errors import VMMFailed
from banger.model.going_down import takes_guest_down
from banger.model.lifecycle import ExitReason
from banger.model.vm import VM
from banger.service.context import Context

#: Seconds in which a VM whose agent is gone has ended, if that is why: the agent ends early in
#: a guest's way down. The longer one is for commands that are there to take a guest down.
_ENDS_WITHIN, _GOES_DOWN_WITHIN = 10.0, 90.0
#: What a command gets that is ended with everything else: 128 + SIGHUP, SIGKILL, SIGTERM.
_ENDED_BY_SIGNAL = frozenset({129, 137, 143})
_IN_ORDER: dict[ExitReason | None, str] = {
    ExitReason.GUEST_SHUTDOWN: "its guest powered off",
    ExitReason.GUEST_REBOOT: "its guest rebooted, and a VM stops then",
}
_CAUSES: dict[ExitReason | None, str] = {
    None: "it was deleted",
    **_IN_ORDER,
    ExitReason.STOPPED: "it was stopped",
    ExitReason.KILLED: "it was killed",
    ExitReason.GUEST_PANIC: "its guest's kernel panicked",
}


class LastingProcess:
    """A ``GuestProcess`` (see ``drivers.guest.base``) that survives the loss of its agent."""

    def __init__(
        self, context: Context, vm: VM, command: GuestCommand, process: GuestProcess
    ) -> None:
        self._context = context
        self._vm = vm
        self._goes_down = takes_guest_down(command.argv)
        self._process = process
        self._loss: VMMFailed | None = None

    async def write(self, data: bytes) -> None:
        """Feed standard input."""
        await self._process.write(data)

    async def output(self) -> AsyncIterator[Chunk]:
        """The pieces as they come; a loss of the agent ends them, and ``status`` tells of it."""
        try:
            async for chunk in self._process.output():
                yield chunk
        except VMMFailed as error:
            self._loss = error

    async def status(self) -> int:
        """The exit status; 0 for a command that took the guest down as it should.

        Raises ``VMMFailed``, which names the end of the VM if that is the reason.
        """
        status = 0
        try:
            if self._loss is None:
                status = await self._process.status()
        except VMMFailed as error:
            self._loss = error
        if self._loss is None and not (self._goes_down and status in _ENDED_BY_SIGNAL):
            return status
        try:
            reason = await self._end(_GOES_DOWN_WITHIN if self._goes_down else _ENDS_WITHIN)
        except TimeoutError:
            if self._loss is None:
                return status
            raise self._loss from None
        if self._goes_down and reason in _IN_ORDER:
            return 0
        if self._loss is None:
            return status
        raise VMMFailed(
            f"{self._vm.name} stopped while the command ran",
            cause=_CAUSES.get(reason, "its VMM ended"),
            resolution="banger ls" if reason is None else f"banger start {self._vm.name}",
        ) from self._loss

    async def signal(self, number: int) -> None:
        """Send a signal to the command's process group."""
        await self._process.signal(number)

    async def close(self) -> None:
        """Give up. Idempotent; a guest that is gone has given up already."""
        with contextlib.suppress(VMMFailed):
            await self._process.close()

    async def _end(self, timeout: float) -> ExitReason | None:
        """Why this run of the VM has ended; None if the VM is deleted.

        Raises ``TimeoutError`` if it goes on.
        """
        async with asyncio.timeout(timeout):
            with self._context.events.subscribe() as subscription:
                vm = self._context.vms.get(self._vm.id)
                while vm is not None:
                    if vm.machine != self._vm.machine:
                        return vm.last_exit.reason if vm.last_exit is not None else None
                    event = await subscription.get()
                    if event.kind == "vm" and isinstance(event.subject, VM):
                        vm = event.subject if event.subject.id == vm.id else vm
                    elif event.kind in {"vm-deleted", "lost"}:
                        vm = self._context.vms.get(vm.id)
        return None
