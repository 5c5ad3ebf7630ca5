"""Puts the services together over one context, and starts and ends what runs in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from banger.daemon.ports import DaemonFacts, DriverFacts, Services
from banger.service import recovery
from banger.service.access import AccessService
from banger.service.change import ChangeService
from banger.service.connectivity import ConnectivityService
from banger.service.context import Context
from banger.service.fill_watch import FillWatch
from banger.service.image_prune import ImagePruneService
from banger.service.images import ImageService
from banger.service.operations import OperationService
from banger.service.own_images import OwnImageService
from banger.service.power import PowerService
from banger.service.stats import StatsService
from banger.service.supervision import Supervisor
from banger.service.vms import VMService

_log = logging.getLogger(__name__)
#: Seconds before watching begins again after a defect in it.
_RESTART_PAUSE = 1.0


class Assembly:
    """Everything behind the API; ``stopping`` is set when the daemon shall end."""

    def __init__(
        self,
        context: Context,
        facts: DaemonFacts,
        drivers: Callable[[], Awaitable[DriverFacts]],
        stopping: asyncio.Event,
    ) -> None:
        self._context = context
        self._operations = OperationService(context)
        images = ImageService(context, self._operations)
        vms = VMService(context, self._operations, images)
        self._watching: asyncio.Task[None] | None = None
        self._naming: asyncio.Task[None] | None = None
        self.services = Services(
            vms=vms,
            power=PowerService(vms, self._operations),
            change=ChangeService(context, vms, images, self._operations),
            connectivity=ConnectivityService(context, vms, self._operations),
            images=images,
            own_images=OwnImageService(context, vms, self._operations),
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
        self._watching = asyncio.create_task(self._watch())
        self._naming = asyncio.create_task(recovery.settle_names(self._context, self._operations))

    async def end(self) -> None:
        """Drop everything as it is: the next start recovers it. No VM is touched."""
        tasks = [task for task in (self._watching, self._naming) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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

    def _operation_log(self, operation_id: str) -> str:
        path = self._context.paths.operation_log(operation_id)
        return str(path) if path.exists() else ""
