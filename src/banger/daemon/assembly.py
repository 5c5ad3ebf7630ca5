"""Puts the services together over one context, and starts and ends what runs in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from banger.daemon.ports import DaemonFacts, DriverFacts, Services
from banger.errors import BangerError
from banger.host.threads import in_thread
from banger.model.vm import VM
from banger.service import recovery
from banger.service.access import AccessService
from banger.service.change import ChangeService
from banger.service.connectivity import ConnectivityService
from banger.service.context import Context
from banger.service.customizing import CustomizeService
from banger.service.fill_watch import FillWatch
from banger.service.image_import import ImageImportService
from banger.service.image_prune import ImagePruneService
from banger.service.images import ImageService
from banger.service.operations import OperationService
from banger.service.own_images import OwnImageService
from banger.service.power import PowerService
from banger.service.restart_policy import RestartPolicy
from banger.service.stats import StatsService
from banger.service.supervision import Supervisor
from banger.service.vms import VMService

_log = logging.getLogger(__name__)
#: Seconds before watching begins again after a defect in it.
_RESTART_PAUSE = 1.0


class Assembly:
    """Everything behind the API; ``stopping`` is set when the daemon shall end.

    ``keep_logs`` is called when the first VM runs, and sees to it that the logs of VMs stay short
    when this daemon is gone.
    """

    def __init__(
        self,
        context: Context,
        facts: DaemonFacts,
        drivers: Callable[[], Awaitable[DriverFacts]],
        stopping: asyncio.Event,
        keep_logs: Callable[[], object],
    ) -> None:
        self._context = context
        self._keep_logs = keep_logs
        self._operations = OperationService(context)
        images = ImageService(context, self._operations)
        vms = VMService(context, self._operations, images)
        self._tasks: list[asyncio.Task[None]] = []
        self._power = PowerService(vms, self._operations)
        self.services = Services(
            vms=vms,
            power=self._power,
            change=ChangeService(context, vms, images, self._operations),
            connectivity=ConnectivityService(context, vms, self._operations),
            images=images,
            customizing=CustomizeService(context, images, self._operations),
            own_images=OwnImageService(context, vms, self._operations),
            importing=ImageImportService(context, self._operations),
            pruning=ImagePruneService(context, self._operations),
            operations=self._operations,
            events=context.events,
            access=AccessService(context, vms),
            stats=StatsService(context, vms),
            facts=facts,
            drivers=drivers,
            changes=lambda: context.database.changes,
            operation_log=self._operation_log,
            stopping=stopping.wait,
            stop=stopping.set,
        )

    async def start(self) -> None:
        """Recover what an earlier daemon left; the socket must not answer before."""
        recovery.prepare_folders(self._context)
        recovery.recover(self._context, self._operations)
        settling = recovery.settle_names(self._context, self._operations)
        policy = RestartPolicy(self._context, self._operations, self._power)
        background = (self._watch(), settling, self._arm_log_keeper(), policy.run())
        self._tasks = [asyncio.create_task(work) for work in background]

    async def end(self) -> None:
        """Drop everything as it is: the next start recovers it. No VM is touched."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._operations.abandon()
        await self._context.drivers.names.close()
        for vm_id in list(self._context.agents):
            await self._context.drop_agent(vm_id)
        self._context.database.close()

    async def _watch(self) -> None:
        while True:
            supervisor = Supervisor(self._context, self._operations)
            try:
                async with asyncio.TaskGroup() as watches:
                    watches.create_task(supervisor.run())
                    watches.create_task(supervisor.patrol())
                    watches.create_task(supervisor.guard())
                    watches.create_task(FillWatch(self._context, self._operations).run())
            except Exception:  # noqa: BLE001 - without it no end of a VM would be seen any more
                _log.exception("watching the VMs met a defect")
            finally:
                supervisor.stop()
            await asyncio.sleep(_RESTART_PAUSE)

    async def _arm_log_keeper(self) -> None:
        await self._until_a_vm_runs()
        try:
            await in_thread(lambda _: self._keep_logs())
        except BangerError as error:
            _log.warning("nobody keeps the logs of VMs short without bangerd: %s", error)

    async def _until_a_vm_runs(self) -> None:
        with self._context.events.subscribe() as subscription:
            if any(vm.machine is not None for vm in self._context.vms.all()):
                return
            while (event := await subscription.get()).kind != "lost":
                if isinstance(event.subject, VM) and event.subject.machine is not None:
                    return
        # Too many events at once: look at every row instead.
        await self._until_a_vm_runs()

    def _operation_log(self, operation_id: str) -> str:
        path = self._context.paths.operation_log(operation_id)
        return str(path) if path.exists() else ""
