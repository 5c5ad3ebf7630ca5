"""The name of a VM under ``.vm``: published when it is launched, withdrawn with its interface."""

from __future__ import annotations

import logging

from banger.drivers.dns.base import Publication
from banger.errors import BangerError
from banger.model.vm import VM
from banger.service.context import Context
from banger.service.create import VMStep
from banger.service.steps import Report

_log = logging.getLogger(__name__)


class PublishName(VMStep):
    """``NAME.vm`` leads to the VM. A VM runs as well without, so this never fails a start."""

    name = "name"
    title = "publish the name"

    async def apply(self, report: Report) -> dict[str, object]:
        vm = self.plan.vm
        if not vm.lease.tap:
            return {}  # behind the VMM's own network there is no address to lead to
        try:
            await self.context.drivers.names.publish(publication_of(vm))
        except BangerError as error:
            _log.warning("%s has no name: %s: %s", vm.name, error.brief, error.cause)
            return {"problem": error.brief}
        return {"address": vm.lease.address}

    async def undo(self) -> None:
        await withdraw(self.context, self.vm_id)


def publication_of(vm: VM) -> Publication:
    """What is published of a VM that has an address of its own."""
    return Publication(vm.id, vm.name, vm.lease.address, vm.lease.gateway)


async def withdraw(context: Context, vm_id: str) -> None:
    """Take the VM's name back. A failure is logged: nothing else may wait for a name."""
    try:
        await context.drivers.names.withdraw(vm_id)
    except BangerError as error:
        _log.warning("the name of %s stays: %s: %s", vm_id, error.brief, error.cause)
