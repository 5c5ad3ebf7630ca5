"""Starts, stops, kills, restarts, pauses and resumes VMs, as operations."""

from __future__ import annotations

import msgspec

from banger.errors import InvalidInput
from banger.model.lifecycle import Action, VMState
from banger.model.operation import Operation
from banger.model.vm import VM, Exit
from banger.service.operations import OperationService, Target
from banger.service.vms import VMService

MAX_TIMEOUT = 3600.0


class PowerService:
    """Use cases on a VM's power."""

    def __init__(self, vms: VMService, operations: OperationService) -> None:
        self._vms = vms
        self._operations = operations

    async def start(
        self, reference: str, *, wait: bool, timeout: float, follows: Exit | None = None
    ) -> Operation:
        """Admit ``vm.start``; with ``wait`` it ends when the guest answers.

        ``follows``: nobody asked for it, it follows this end of the VM; and if it comes to
        nothing, this end stands.
        """
        arguments: dict[str, object] = {"wait": wait, "timeout": _checked(timeout)}
        if follows is not None:
            arguments["follows"] = msgspec.to_builtins(follows)
        return self._admit(reference, Action.START, "vm.start", VMState.STARTING, arguments)

    async def stop(self, reference: str, *, timeout: float) -> Operation:
        """Admit ``vm.stop``: the guest has ``timeout`` seconds to power off."""
        paused = self._vms.get(reference).state is VMState.PAUSED
        arguments: dict[str, object] = {"timeout": _checked(timeout), "paused": paused}
        return self._admit(reference, Action.STOP, "vm.stop", VMState.STOPPING, arguments)

    async def kill(self, reference: str) -> Operation:
        """Admit ``vm.kill``; whatever runs on the VM is cancelled first."""
        vm = self._vms.get(reference)
        self._vms.require(vm, Action.KILL)
        await self._operations.preempt(vm.id)
        # A start that was cancelled has left the VM stopped: the kill then only makes sure.
        return self._admit(vm.id, None, "vm.kill", VMState.STOPPING, {})

    async def restart(self, reference: str, *, wait: bool, timeout: float) -> Operation:
        """Admit ``vm.restart``; a stopped VM is just started."""
        vm = self._vms.get(reference)
        arguments: dict[str, object] = {
            "wait": wait,
            "timeout": _checked(timeout),
            "paused": vm.state is VMState.PAUSED,
        }
        return self._admit(reference, Action.RESTART, "vm.restart", VMState.STOPPING, arguments)

    async def pause(self, reference: str) -> Operation:
        """Admit ``vm.pause``."""
        return self._admit(reference, Action.PAUSE, "vm.pause", None, {})

    async def resume(self, reference: str) -> Operation:
        """Admit ``vm.resume``."""
        return self._admit(reference, Action.RESUME, "vm.resume", None, {})

    def _admit(
        self,
        reference: str,
        action: Action | None,
        kind: str,
        state: VMState | None,
        arguments: dict[str, object],
    ) -> Operation:
        vm: VM = self._vms.get(reference)
        if action is not None and self._operations.busy_with(vm.id) is None:
            self._vms.require(vm, action)

        def reserve(_operation: Operation) -> None:
            if state is not None:
                self._vms.transition(vm, state)

        return self._operations.admit(
            kind, Target("vm", vm.id, vm.name), arguments, reserve=reserve
        )


def _checked(timeout: float) -> float:
    if not 0 <= timeout <= MAX_TIMEOUT:
        raise InvalidInput(
            f"the timeout {timeout:g} s is out of range",
            cause=f"it must lie between 0 and {MAX_TIMEOUT:g} s",
            resolution="--timeout 60",
        )
    return timeout
