"""The plan that makes a VM as a copy of a stopped one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from banger.errors import NotFound
from banger.model.vm import VM
from banger.service.create import (
    CreatePlan,
    MakeFolder,
    MakeHostKey,
    MakeRootDrive,
    MakeWorkDisk,
    VMStep,
    rootfs_spec,
)
from banger.service.steps import Report, Step


def _source_of(step: VMStep) -> VM:
    source = step.context.vms.get(str(step.plan.operation.arguments["source"]))
    if source is None:
        raise NotFound(
            f"the VM that {step.plan.operation.target_name} is a copy of is gone",
            cause="its row is gone",
            resolution="banger ls",
        )
    return source


class CopyRootDrive(MakeRootDrive):
    """A layer of its own with the source's content."""

    title = "copy the writable layer"

    async def apply(self, report: Report) -> dict[str, object]:
        vm, source = self.plan.vm, _source_of(self)
        await self.context.drivers.stores[vm.spec.storage].copy(
            rootfs_spec(self.context, source), rootfs_spec(self.context, vm)
        )
        return {}


class CopyWorkDisk(MakeWorkDisk):
    """The same for the work disk."""

    title = "copy the work disk"

    async def apply(self, report: Report) -> dict[str, object]:
        if self.plan.vm.spec.work_disk_bytes:
            paths, source = self.context.paths, _source_of(self)
            await self.context.drivers.work_disk.copy(paths.vm(source.id), paths.vm(self.vm_id))
        return {}


class ClonePlan(CreatePlan):
    """As a creation, with the drives of another VM, which stays as it is meanwhile."""

    kind: ClassVar[str] = "vm.clone"
    step_types: ClassVar[tuple[type[Step], ...]] = (
        MakeFolder,
        MakeHostKey,
        CopyRootDrive,
        CopyWorkDisk,
    )

    @classmethod
    def also_busy(cls, arguments: Mapping[str, object]) -> tuple[str, ...]:
        return (str(arguments["source"]),)

    def steps(self) -> Sequence[Step]:
        return [MakeFolder(self), MakeHostKey(self), CopyRootDrive(self), CopyWorkDisk(self)]
