"""Watches every running VMM and records why it ended, whether or not anyone asked it to."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging

from banger.drivers.vmm.base import RunState
from banger.errors import BangerError, HostNotReady
from banger.model.lifecycle import ExitReason, VMState
from banger.model.operation import Operation
from banger.model.vm import VM, Machine
from banger.service import record
from banger.service.context import Context
from banger.service.operations import OperationService, Target
from banger.service.reach import restore

_log = logging.getLogger(__name__)
#: Pause between two looks at every running VM, in seconds.
PATROL_SECONDS = 30.0
#: Pause between two looks whether the host's rules are there at all, in seconds.
GUARD_SECONDS = 1.0
#: Every how many looks the host's rules are looked at as well.
RULES_EVERY = 2


class Supervisor:
    """One watching task per live VMM, started whenever a VM row gets a new machine."""

    def __init__(self, context: Context, operations: OperationService) -> None:
        self._context = context
        self._operations = operations
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow the event bus for ever: every VM that gets a machine is watched."""
        with self._context.events.subscribe() as subscription:
            self._watch_all()
            while True:
                event = await subscription.get()
                if event.kind == "lost":
                    break
                if isinstance(event.subject, VM):
                    self._watch(event.subject)
        # Too many events at once: look at every row instead.
        await self.run()

    async def patrol(self) -> None:
        """Every so often: put back rules that others removed, keep logs short, and see guests
        whose drive could not be written.
        """
        for look in itertools.count():
            if look % RULES_EVERY == 0:
                await restore(self._context, self._operations.busy_with)
            # At once after a start: nobody cut the logs while no daemon ran.
            for vm in self._context.vms.all():
                if vm.machine is None or self._operations.busy_with(vm.id) is not None:
                    continue
                try:
                    await self._look_at(vm)
                except BangerError as error:
                    _log.warning("%s cannot be looked at: %s", vm.name, error)
            await asyncio.sleep(PATROL_SECONDS)

    async def guard(self) -> None:
        """Put back rules that others flushed, at once: only a loss is acted on, and once."""
        networks = list(self._context.drivers.networks.values())
        lost = dict.fromkeys((network.name for network in networks), True)
        while True:
            for network in networks:
                if network.unruled() and not lost[network.name]:
                    await restore(self._context, self._operations.busy_with)
                lost[network.name] = network.unruled()
            await asyncio.sleep(GUARD_SECONDS)

    async def _look_at(self, vm: VM) -> None:
        paths, vmm = self._context.paths, self._context.drivers.vmms[vm.spec.vmm]
        vmm.bound_logs(paths.console_log(vm.id), paths.vmm_log(vm.id), paths.vmm_events(vm.id))
        state = await vmm.run_state(paths.monitor_socket(vm.id))
        current = self._context.vms.get(vm.id)
        if state is not RunState.DRIVE_FAILED or current is None or current.machine != vm.machine:
            return
        problem = HostNotReady(
            f"{vm.name} is paused: one of its drives could not be written",
            cause="the host's disk is full; the guest's write waits",
            resolution=f"make room, then banger resume {vm.name}",
        )
        changed = self._context.change_vm(current, state=VMState.PAUSED, problem=problem.as_dict())
        record.write_vm(self._context, changed)

    def stop(self) -> None:
        """End every watch; the VMs are not touched."""
        for task in self._watches.values():
            task.cancel()

    def _watch_all(self) -> None:
        for vm in self._context.vms.all():
            self._watch(vm)

    def _watch(self, vm: VM) -> None:
        if vm.machine is None or vm.id in self._watches:
            return
        task = asyncio.create_task(self._until_gone(vm, vm.machine))
        self._watches[vm.id] = task

    async def _until_gone(self, vm: VM, machine: Machine) -> None:
        try:
            await self._context.drivers.vmms[vm.spec.vmm].wait(machine)
            # Whoever ends the VM on purpose records it; wait until that is done.
            while (busy := self._operations.busy_with(vm.id)) is not None:
                await self._operations.wait(busy.id)
            self._record(vm, machine)
        except BangerError:
            _log.exception("the end of %s could not be recorded", vm.name)
        finally:
            self._watches.pop(vm.id, None)
        current = self._context.vms.get(vm.id)
        if current is not None and current.machine not in (None, machine):
            self._watch(current)

    def _record(self, vm: VM, machine: Machine) -> None:
        current = self._context.vms.get(vm.id)
        if current is None or current.machine != machine:
            return
        admit_exit(self._context, self._operations, current)


def admit_exit(context: Context, operations: OperationService, vm: VM) -> Operation:
    """Admit ``vm.exit`` for a VM whose VMM is gone."""
    paths = context.paths
    if vm.machine is not None and vm.machine.boot_id != context.boot_id:
        reason, detail = ExitReason.HOST_REBOOT, "the host was restarted while it ran"
    else:
        ended = context.drivers.vmms[vm.spec.vmm].exit_of(
            paths.vmm_events(vm.id), paths.console_log(vm.id), paths.vmm_log(vm.id)
        )
        reason, detail = ended.reason, ended.detail

    def reserve(_operation: Operation) -> None:
        changed = dataclasses.replace(vm, state=VMState.STOPPING, generation=vm.generation + 1)
        context.vms.update(changed)

    _log.info("%s ended: %s", vm.name, reason.value)
    return operations.admit(
        "vm.exit",
        Target("vm", vm.id, vm.name),
        {"reason": reason.value, "detail": detail},
        reserve=reserve,
    )
