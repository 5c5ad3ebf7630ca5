"""The plan that changes a VM's memory, virtual CPUs and disks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import structs

from banger.model.lifecycle import VMState
from banger.model.vm import VMSpec
from banger.service.boot import vmm_of
from banger.service.create import VMStep, rootfs_spec
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan

#: ``problem["code"]`` of a VM that was paused because its overlay was about to overflow.
OVERLAY_FULL = "overlay-full"
#: What of a spec this plan changes.
FIELDS = ("vcpus", "memory_mib", "overlay_bytes", "work_disk_bytes")
POLICY_FIELDS = ("restart", "restart_since")


def arguments_of(before: VMSpec, after: VMSpec) -> dict[str, object]:
    """What the journal keeps of a change, so that any later daemon can finish it."""
    return {
        "before": {field: getattr(before, field) for field in FIELDS},
        "after": {field: getattr(after, field) for field in FIELDS},
        "policy": {field: getattr(after, field) for field in POLICY_FIELDS},
    }


class SizeStep(VMStep):
    """A step that makes some of the new sizes true, and then writes them to the row."""

    fields: ClassVar[tuple[str, ...]]

    def size(self, when: str, field: str) -> int:
        """What was (``before``) or shall be (``after``)."""
        return msgspec.convert(self.plan.operation.arguments[when], dict[str, int])[field]

    def grows(self) -> bool:
        """Whether the first of the fields becomes larger."""
        return self.size("after", self.fields[0]) > self.size("before", self.fields[0])

    def commit(self, observed: dict[str, object]) -> None:
        sizes: dict[str, Any] = {field: self.size("after", field) for field in self.fields}
        self.plan.save(spec=dataclasses.replace(self.plan.vm.spec, **sizes))


class GrowOverlay(SizeStep):
    """The writable layer; the guest's root file system follows it where it can."""

    name = "overlay"
    title = "let the overlay take more"
    fields = ("overlay_bytes",)

    async def apply(self, report: Report) -> dict[str, object]:
        if self.grows():
            vm = self.plan.vm
            wanted = structs.replace(
                rootfs_spec(self.context, vm), overlay_bytes=self.size("after", "overlay_bytes")
            )
            await self.context.drivers.stores[vm.spec.storage].grow(wanted)
        return {}


class ChangeWorkDisk(SizeStep):
    """The work disk: made where there is none, else enlarged with its file system."""

    name = "work-disk"
    title = "enlarge the work disk"
    fields = ("work_disk_bytes",)

    async def apply(self, report: Report) -> dict[str, object]:
        if self.grows():
            disk, folder = self.context.drivers.work_disk, self.context.paths.vm(self.vm_id)
            change = disk.grow if self.size("before", "work_disk_bytes") else disk.prepare
            await change(folder, self.size("after", "work_disk_bytes"))
        return {}


class ChangeMachine(SizeStep):
    """Memory and vCPUs, which a VMM learns when it is launched."""

    name = "machine"
    title = "change memory and vCPUs"
    fields = ("memory_mib", "vcpus")

    async def apply(self, report: Report) -> dict[str, object]:
        return {}


class ChangePolicy(VMStep):
    """Whether the VM is started again when it has ended."""

    name = "policy"
    title = "change the restart policy"

    async def apply(self, report: Report) -> dict[str, object]:
        return {}

    def commit(self, observed: dict[str, object]) -> None:
        # An operation of an older daemon has none.
        policy: Any = self.plan.operation.arguments.get("policy", {})
        self.plan.save(spec=dataclasses.replace(self.plan.vm.spec, **policy))


class ContinueAfterGrowth(SizeStep):
    """Lets a VM go on that was paused because its overlay was full."""

    name = "continue"
    title = "let the VM go on"
    fields = ("overlay_bytes",)

    async def apply(self, report: Report) -> dict[str, object]:
        vm = self.plan.vm
        waits = vm.state is VMState.PAUSED and vm.problem.get("code") == OVERLAY_FULL
        if not (waits and self.grows()):
            return {"continued": False}
        await vmm_of(self).resume(self.context.paths.monitor_socket(self.vm_id))
        return {"continued": True}

    def commit(self, observed: dict[str, object]) -> None:
        if observed["continued"]:
            self.plan.save(state=VMState.RUNNING, problem={})


class SetPlan(VMPlan):
    """Forward: disks cannot shrink again. Each step that is done is true of the VM."""

    kind: ClassVar[str] = "vm.set"
    direction: ClassVar[Direction] = Direction.FORWARD
    cancellable: ClassVar[bool] = False
    step_types: ClassVar[tuple[type[Step], ...]] = (
        GrowOverlay,
        ChangeWorkDisk,
        ChangeMachine,
        ChangePolicy,
        ContinueAfterGrowth,
    )

    def steps(self) -> Sequence[Step]:
        return [
            GrowOverlay(self),
            ChangeWorkDisk(self),
            ChangeMachine(self),
            ChangePolicy(self),
            ContinueAfterGrowth(self),
        ]

    def succeeded(self) -> dict[str, object]:
        vm = self.vm
        shown = {field: getattr(vm.spec, field) for field in (*FIELDS, "restart")}
        return {"id": vm.id, "name": vm.name, **shown}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        """The row says already what was done."""
