"""What running VMs use of the host: counters since their start, looked at when somebody asks."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from msgspec import Struct

from banger.drivers.network.base import Traffic
from banger.drivers.vmm.base import Counters
from banger.errors import BangerError, Conflict
from banger.model.lifecycle import VMState
from banger.model.storage import DiskUsage
from banger.model.vm import VM
from banger.service.context import Context
from banger.service.create import rootfs_spec
from banger.service.vms import VMService

#: VMs that are looked at at the same time: each needs a thread for a moment.
_AT_ONCE = 16
#: States in which a VM has a VMM whose figures mean something.
_ALIVE = frozenset({VMState.RUNNING, VMState.PAUSED, VMState.STOPPING})


class VMStats(Struct, frozen=True):
    """One look at a running VM. ``overlay`` and ``traffic`` are ``None`` where nobody can tell."""

    vm: VM
    uptime_seconds: float
    counters: Counters
    overlay: DiskUsage | None
    traffic: Traffic | None


class StatsService:
    """Looks at running VMs. Nothing is kept: whoever asks twice makes rates of it."""

    def __init__(self, context: Context, vms: VMService) -> None:
        self._context = context
        self._vms = vms

    async def of(self, reference: str) -> VMStats:
        """One VM. Raises ``Conflict`` if it does not run."""
        vm = self._vms.get(reference)
        found = await self._look_at(vm)
        if found is None:
            now = self._vms.get(vm.id)
            raise Conflict(
                f"{now.name} has no statistics",
                cause=f"it is {now.state.value}, and only a running VM uses anything",
                resolution=f"banger start {now.name}",
            )
        return found

    async def all(self) -> Sequence[VMStats]:
        """Every VM that runs, oldest first. One that ends meanwhile is left out."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def look(vm: VM) -> VMStats | None:
            async with gate:
                return await self._look_at(vm)

        looks = [look(vm) for vm in self._vms.list() if vm.machine is not None]
        return [found for found in await asyncio.gather(*looks) if found is not None]

    async def _look_at(self, vm: VM) -> VMStats | None:
        context, paths = self._context, self._context.paths
        vmm = context.drivers.vmms.get(vm.spec.vmm)
        if vm.machine is None or vm.state not in _ALIVE or vmm is None:
            return None
        try:
            counters = await vmm.counters(
                vm.machine, paths.monitor_socket(vm.id), paths.vmm_events(vm.id)
            )
        except BangerError:
            return None  # it has just ended, and supervision is about to record why
        store = context.drivers.stores.get(vm.spec.storage)
        overlay: DiskUsage | None = None
        if store is not None:
            with contextlib.suppress(OSError, BangerError):
                overlay = store.usage(rootfs_spec(context, vm))
        network = context.drivers.networks.get(vm.spec.network)
        return VMStats(
            vm=vm,
            uptime_seconds=max(0.0, time.time() - vm.started_at),
            counters=counters,
            overlay=overlay,
            traffic=network.traffic(vm.lease) if network else None,
        )
