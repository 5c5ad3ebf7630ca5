"""The plans that end a VM: stop asks the guest, kill does not, exit follows one that ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import ClassVar

from banger.errors import BangerError
from banger.host import files
from banger.model.lifecycle import ExitReason, VMState
from banger.service.boot import mark_of, vmm_of
from banger.service.create import VMStep, rootfs_spec
from banger.service.names import withdraw
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan

_log = logging.getLogger(__name__)
#: Seconds the agent has to say that it has understood.
_ASK_TIMEOUT = 5.0
_QUIT_TIMEOUT = 3.0


class AskGuest(VMStep):
    """Asks the guest to power off and waits until it has, or until the time is over."""

    name = "ask"
    title = "ask the guest to power off"

    async def apply(self, report: Report) -> dict[str, object]:
        vm, vmm = self.plan.vm, vmm_of(self)
        if vm.machine is None or not vmm.is_alive(vm.machine, mark_of(self)):
            return {"gone": True, "asked": False}
        timeout = float(str(self.plan.operation.arguments.get("timeout", 30.0)))
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            if self.plan.operation.arguments.get("paused"):
                await vmm.resume(self.context.paths.monitor_socket(vm.id))
            if not await self._ask(timeout):
                return {"gone": False, "asked": False}
        except BangerError as error:
            _log.warning("%s cannot be asked to power off: %s", vm.name, error)
            return {"gone": False, "asked": False}
        try:
            async with asyncio.timeout_at(deadline):
                await vmm.wait(vm.machine)
        except TimeoutError:
            return {"gone": False, "asked": True}
        return {"gone": True, "asked": True}

    async def _ask(self, timeout: float) -> bool:
        """Ask the agent, or else press the machine's power key; False if there is neither.

        The agent gets half of the time at most, so that something is left for the key.
        """
        vm, vmm = self.plan.vm, vmm_of(self)
        if vmm.capabilities().agent:
            try:
                await self.context.agent(vm).shutdown(timeout=min(timeout / 2, _ASK_TIMEOUT))
            except BangerError as error:
                _log.warning("the agent of %s cannot be asked to power off: %s", vm.name, error)
            else:
                return True
        return await vmm.press_power(self.context.paths.monitor_socket(vm.id))


class EndVMM(VMStep):
    """Ends the VMM process if it still lives."""

    name = "end"
    title = "end the VMM"

    async def apply(self, report: Report) -> dict[str, object]:
        vmm = vmm_of(self)
        machine = vmm.find(mark_of(self))
        if machine is None:
            return {"killed": False}
        if "ask" in self.plan.observed and await vmm.quit(
            self.context.paths.monitor_socket(self.vm_id), timeout=_QUIT_TIMEOUT
        ):
            # The VMM flushes its drives on the way out.
            try:
                await asyncio.wait_for(vmm.wait(machine), _QUIT_TIMEOUT)
            except TimeoutError:
                _log.warning("VMM %s of %s does not quit", machine.pid, self.vm_id)
        await vmm.kill(machine, mark_of(self))
        return {"killed": True}


class Release(VMStep):
    """Gives back the name, the interface, the drives and the sockets."""

    name = "release"
    title = "release interface and drives"

    async def apply(self, report: Report) -> dict[str, object]:
        vm, context = self.plan.vm, self.context
        await withdraw(context, vm.id)
        await context.drop_agent(vm.id)
        await vmm_of(self).release(mark_of(self))
        await context.drivers.networks[vm.lease.kind].detach(vm.lease, vm.id)
        await context.drivers.stores[vm.spec.storage].deactivate(rootfs_spec(context, vm))
        files.remove_tree(context.paths.vm_runtime(vm.id))
        return {}


class HaltPlan(VMPlan):
    """Forward: what was begun is finished by recovery."""

    direction: ClassVar[Direction] = Direction.FORWARD

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        vm = self.vm
        mark = mark_of(EndVMM(self))
        vmm = self.context.drivers.vmms[vm.spec.vmm]
        if vm.machine is not None and vmm.is_alive(vm.machine, mark):
            self.save(state=VMState.RUNNING, problem=error)
        else:
            self.save_stopped(ExitReason.VMM_DIED, error["brief"], problem=error)


class StopPlan(HaltPlan):
    """Asks the guest, then ends the VMM if it does not comply in time."""

    kind: ClassVar[str] = "vm.stop"
    step_types: ClassVar[tuple[type[Step], ...]] = (AskGuest, EndVMM, Release)

    def steps(self) -> Sequence[Step]:
        return [AskGuest(self), EndVMM(self), Release(self)]

    def succeeded(self) -> dict[str, object]:
        asked, killed = self.observed["ask"].get("asked"), self.observed["end"].get("killed")
        if not killed:
            detail = ""
        elif asked:
            detail = "the guest did not power off in time and was ended"
        else:
            detail = "the guest could not be asked and was ended"
        reason = ExitReason.KILLED if killed else ExitReason.STOPPED
        self.save_stopped(reason, detail, problem={})
        return {"asked": asked, "killed": killed}


class KillPlan(HaltPlan):
    """Ends the VMM at once, like pulling the plug."""

    kind: ClassVar[str] = "vm.kill"
    cancellable: ClassVar[bool] = False
    step_types: ClassVar[tuple[type[Step], ...]] = (EndVMM, Release)

    def steps(self) -> Sequence[Step]:
        return [EndVMM(self), Release(self)]

    def succeeded(self) -> dict[str, object]:
        self.save_stopped(ExitReason.KILLED, problem={})
        return {}


class ExitPlan(HaltPlan):
    """Follows a VM whose VMM ended by itself: records why and gives back what it held."""

    kind: ClassVar[str] = "vm.exit"
    cancellable: ClassVar[bool] = False
    step_types: ClassVar[tuple[type[Step], ...]] = (Release,)

    def steps(self) -> Sequence[Step]:
        return [Release(self)]

    def succeeded(self) -> dict[str, object]:
        reason = ExitReason(str(self.operation.arguments["reason"]))
        self.save_stopped(reason, str(self.operation.arguments.get("detail", "")), problem={})
        return {"reason": reason.value}
