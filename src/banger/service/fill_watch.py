"""Pauses a VM before a layer that breaks when it is full is full, and lets it on once it grew."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from enum import StrEnum

from banger.errors import BangerError, LayerFull
from banger.host.threads import in_thread
from banger.model.lifecycle import VMState
from banger.model.storage import DiskUsage
from banger.model.vm import VM
from banger.service import record
from banger.service.context import Context
from banger.service.create import rootfs_spec
from banger.service.operations import OperationService

_log = logging.getLogger(__name__)
_MIB = 1024 * 1024
#: Parts of the layer, in percent, at which the user is warned and the VM is paused.
WARN_PERCENT, PAUSE_PERCENT = 80, 95
#: What must be free beyond the share above. Chunks that are still being written are not counted
#: yet, and the kernel lets 2048 of 4 KiB be on their way (dm-snap.c, the parameter
#: snapshot_cow_threshold); measured: 7 MiB. Twice that, but of a small layer never more than half.
IN_FLIGHT = 16 * _MIB
#: The most that a guest can write, in bytes for each second: what good NVMe drives take. The
#: next look comes before a layer could have been filled at that rate.
FASTEST = 2 * 1024**3
#: Bounds of the pause between two looks, in seconds. A look costs a dozen small reads a VM.
SHORTEST, LONGEST = 0.1, 5.0


class Level(StrEnum):
    """How full a layer is."""

    FINE = "fine"
    FILLING = "filling"
    FULL = "full"


def pause_at(limit_bytes: int) -> int:
    """Bytes in use from which the VM must not write on."""
    reserve = min(IN_FLIGHT, limit_bytes // 2)
    return min(limit_bytes * PAUSE_PERCENT // 100, limit_bytes - reserve)


def level_of(usage: DiskUsage) -> Level:
    """How full a layer is."""
    full = pause_at(usage.limit_bytes)
    if usage.used_bytes >= full:
        return Level.FULL
    warn = min(usage.limit_bytes * WARN_PERCENT // 100, full * WARN_PERCENT // PAUSE_PERCENT)
    return Level.FILLING if usage.used_bytes >= warn else Level.FINE


def seconds_until_next(usage: DiskUsage) -> float:
    """How long nobody needs to look at the layer."""
    room = pause_at(usage.limit_bytes) - usage.used_bytes
    return min(max(room / FASTEST, SHORTEST), LONGEST)


class FillWatch:
    """Looks at every VM that runs, or that was paused here, as often as its layer demands."""

    def __init__(self, context: Context, operations: OperationService) -> None:
        self._context = context
        self._operations = operations

    async def run(self) -> None:
        """Look for ever."""
        while True:
            pause = await self.look()
            await asyncio.sleep(pause)

    async def look(self) -> float:
        """Look at all of them once; the seconds after which to look again."""
        soonest = LONGEST
        for vm in self._context.vms.all():
            if not self._concerns_us(vm):
                continue
            with contextlib.suppress(OSError):
                usage = await self._usage(vm)
                soonest = min(soonest, seconds_until_next(usage))
                try:
                    await self._act(vm, usage)
                except BangerError as error:
                    _log.warning("%s could not be paused or resumed: %s", vm.name, error)
        return soonest

    async def _usage(self, vm: VM) -> DiskUsage:
        spec, store = rootfs_spec(self._context, vm), self._context.drivers.stores[vm.spec.storage]
        return await in_thread(lambda _: store.usage(spec))

    def _concerns_us(self, vm: VM) -> bool:
        store = self._context.drivers.stores.get(vm.spec.storage)
        if store is None or not store.breaks_when_full or vm.machine is None:
            return False
        return vm.state is VMState.RUNNING or _paused_here(vm)

    async def _act(self, vm: VM, usage: DiskUsage) -> None:
        if self._changed(vm):
            return  # it is looked at again soon
        vmm = self._context.drivers.vmms[vm.spec.vmm]
        socket = self._context.paths.monitor_socket(vm.id)
        level, problem = level_of(usage), problem_of(vm, level_of(usage))
        match level, vm.state:
            case Level.FULL, VMState.RUNNING:
                await vmm.pause(socket)
                if self._changed(vm):
                    # Somebody ends it, for one, and needs its help.
                    await vmm.resume(socket)
                else:
                    self._save(vm, VMState.PAUSED, problem)
            case Level.FULL, _:
                pass
            case _, VMState.PAUSED:
                await vmm.resume(socket)
                if not self._changed(vm):
                    self._save(vm, VMState.RUNNING, problem)
            case _:
                ours = vm.problem.get("code") == LayerFull.code
                if problem != vm.problem and (ours or not vm.problem):
                    self._save(vm, VMState.RUNNING, problem)

    def _changed(self, vm: VM) -> bool:
        busy = self._operations.busy_with(vm.id) is not None
        return busy or self._context.vms.get(vm.id) != vm

    def _save(self, vm: VM, state: VMState, problem: dict[str, str]) -> None:
        _log.warning("%s is %s: %s", vm.name, state.value, problem.get("brief", "it has room"))
        changed = self._context.change_vm(vm, state=state, problem=problem)
        record.write_vm(self._context, changed)


def problem_of(vm: VM, level: Level) -> dict[str, str]:
    """What the user is told; nothing while there is room."""
    size = vm.spec.overlay_bytes // _MIB
    resolution = f"banger vm set {vm.name} --overlay-size {2 * size}M"
    if level is Level.FINE:
        return {}
    if level is Level.FILLING:
        error = LayerFull(
            f"the root disk of {vm.name} is nearly full",
            cause=f"more than {WARN_PERCENT} % of its {size} MiB for changes are used, and what the"
            " guest deletes is not given back; before they are used up it is paused",
            resolution=resolution,
        )
    else:
        error = LayerFull(
            f"{vm.name} is paused: its root disk is full",
            cause=f"nothing is lost; the {size} MiB for changes are used up to a reserve,"
            " and the VM goes on when there are more",
            resolution=resolution,
        )
    return error.as_dict()


def _paused_here(vm: VM) -> bool:
    return vm.state is VMState.PAUSED and vm.problem.get("code") == LayerFull.code
