"""The plans that change what a VM's packets may reach, and what reaches it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from banger.drivers.network.base import Attachment, Network
from banger.errors import BangerError
from banger.model.network import Reach
from banger.model.operation import Operation, Presence
from banger.model.vm import VM
from banger.service.boot import mark_of, vmm_of
from banger.service.context import Context
from banger.service.create import VMStep
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan

_log = logging.getLogger(__name__)


def arguments_of(before: Reach, after: Reach) -> dict[str, object]:
    """What the journal keeps of a change, so that any later daemon can finish or undo it."""
    return {"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after)}


def _reach(operation: Operation, key: str) -> Reach:
    return msgspec.convert(operation.arguments[key], Reach)


def network_of(context: Context, vm: VM) -> Network:
    return context.drivers.networks[vm.lease.kind]


class ChangeRules(VMStep):
    """The host's rules for the VM, where it runs; its row either way."""

    name = "rules"
    title = "change what may pass"

    def probe(self) -> Presence:
        vm = self.plan.vm
        return network_of(self.context, vm).probe(vm.lease, vm.id)

    async def apply(self, report: Report) -> dict[str, object]:
        return {"live": await self._admit("before", "after")}

    def commit(self, observed: dict[str, object]) -> None:
        vm = self.plan.vm
        reach = _reach(self.plan.operation, "after")
        self.plan.save(spec=dataclasses.replace(vm.spec, reach=reach))

    async def undo(self) -> None:
        await self._admit("after", "before")

    async def _admit(self, given_up: str, wanted: str) -> bool:
        vm, operation = self.plan.vm, self.plan.operation
        network, reach = network_of(self.context, vm), _reach(operation, wanted)
        # A VM that does not run gets its rules when it starts.
        if self.probe() is not Presence.OURS:
            return False
        if network.live:
            dns_port = await self.context.drivers.names.listen(vm.lease, vm.id)
            await network.admit(vm.lease, vm.id, reach, dns_port)
        elif vm.machine is not None and vmm_of(self).is_alive(vm.machine, mark_of(self)):
            await vmm_of(self).forward(
                self.context.paths.monitor_socket(vm.id),
                _reach(operation, given_up).forwards,
                reach.forwards,
            )
        return True


class NatPlan(VMPlan):
    """Backward: what was interrupted leaves the rules as they were."""

    kind: ClassVar[str] = "vm.nat"
    direction: ClassVar[Direction] = Direction.BACKWARD
    step_types: ClassVar[tuple[type[Step], ...]] = (ChangeRules,)

    def steps(self) -> Sequence[Step]:
        return [ChangeRules(self)]

    def succeeded(self) -> dict[str, object]:
        self._release("before", "after")
        reach = _reach(self.operation, "after")
        return {"nat": reach.internet, "forwards": [str(f) for f in reach.forwards]}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        before = _reach(self.operation, "before")
        if self.vm.spec.reach != before:
            self.save(spec=dataclasses.replace(self.vm.spec, reach=before))
        self._release("after", "before")

    def _release(self, given_up: str, kept: str) -> None:
        """Give back the ports of one that the other does not have."""
        keep = _reach(self.operation, kept).reservations()
        keys = [key for key in _reach(self.operation, given_up).reservations() if key not in keep]
        self.context.resources.release(self.vm.id, keys)


class ForwardPlan(NatPlan):
    """The same for a published port."""

    kind: ClassVar[str] = "vm.forward"


async def restore(context: Context, busy: Callable[[str], object]) -> None:
    """Put back what others took of the host side of the VMs that run.

    A firewall that is loaded anew flushes our table, and a tool deletes an address. Nothing
    is changed where nothing is missing.
    """
    for network in context.drivers.networks.values():
        running = [
            vm
            for vm in context.vms.all()
            if vm.machine is not None and vm.lease.kind == network.name and not busy(vm.id)
        ]
        try:
            found = await network.astray([await _attachment(context, vm) for vm in running])
        except BangerError as error:
            _log.warning("the rules of the VMs cannot be looked at: %s", error)
            continue
        for vm_id in found:
            try:
                await _restore(context, busy, vm_id)
            except BangerError as error:
                _log.warning("the rules of VM %s could not be put in place: %s", vm_id, error)


async def _attachment(context: Context, vm: VM) -> Attachment:
    dns_port = await context.drivers.names.listen(vm.lease, vm.id)
    return Attachment(vm.lease, vm.id, vm.spec.reach, dns_port)


async def _restore(context: Context, busy: Callable[[str], object], vm_id: str) -> None:
    done: Reach | None = None
    while True:
        vm = context.vms.get(vm_id)
        if vm is None or vm.machine is None or busy(vm_id) or vm.spec.reach == done:
            return
        network = network_of(context, vm)
        if network.probe(vm.lease, vm.id) is not Presence.OURS:
            _log.warning("%s has lost its interface %s: restart it", vm.name, vm.lease.tap)
            return
        done = vm.spec.reach
        # Again if the row has changed meanwhile: the last word must be its own.
        await network.restore(await _attachment(context, vm))
        _log.warning("the network of %s was not as it should be, and is again", vm.name)
