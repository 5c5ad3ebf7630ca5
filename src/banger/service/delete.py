"""The plan that deletes a VM with everything it owns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from banger.host import files
from banger.model.lifecycle import VMState
from banger.service.create import VMStep, forget_vm, rootfs_spec
from banger.service.halt import EndVMM, Release
from banger.service.ssh_files import write_ssh_files
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan


class RemoveDrives(VMStep):
    """The writable layer and the work disk."""

    name = "drives"
    title = "delete the drives"

    async def apply(self, report: Report) -> dict[str, object]:
        vm, context = self.plan.vm, self.context
        await context.drivers.stores[vm.spec.storage].remove(rootfs_spec(context, vm))
        await context.drivers.work_disk.remove(context.paths.vm(vm.id))
        return {}


class RemoveFolder(VMStep):
    """The VM's own folder: info file, logs, host key."""

    name = "folder"
    title = "delete the VM's folder"

    async def apply(self, report: Report) -> dict[str, object]:
        files.remove_tree(self.context.paths.vm(self.vm_id))
        return {}


class DeletePlan(VMPlan):
    """Forward: a delete that was begun is finished by recovery."""

    kind: ClassVar[str] = "vm.delete"
    direction: ClassVar[Direction] = Direction.FORWARD
    cancellable: ClassVar[bool] = False
    step_types: ClassVar[tuple[type[Step], ...]] = (EndVMM, Release, RemoveDrives, RemoveFolder)

    def steps(self) -> Sequence[Step]:
        return [EndVMM(self), Release(self), RemoveDrives(self), RemoveFolder(self)]

    def succeeded(self) -> dict[str, object]:
        forget_vm(self.context, self.vm)
        return {}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        self.save(state=VMState.FAILED, problem=error)

    async def settle(self) -> None:
        await super().settle()
        if self.context.vms.get(self.operation.target_id) is None:
            write_ssh_files(self.context)
