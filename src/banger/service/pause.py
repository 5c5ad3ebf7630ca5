"""The plans that stop and continue the vCPUs of a running VM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from banger.model.lifecycle import VMState
from banger.service.boot import vmm_of
from banger.service.create import VMStep
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan


class StopCPUs(VMStep):
    """Through the VMM's monitor."""

    name = "stop-cpus"
    title = "pause the vCPUs"

    async def apply(self, report: Report) -> dict[str, object]:
        await vmm_of(self).pause(self.context.paths.monitor_socket(self.vm_id))
        return {}


class ContinueCPUs(VMStep):
    """Through the VMM's monitor."""

    name = "continue-cpus"
    title = "resume the vCPUs"

    async def apply(self, report: Report) -> dict[str, object]:
        await vmm_of(self).resume(self.context.paths.monitor_socket(self.vm_id))
        return {}


class PausePlan(VMPlan):
    """Forward; a failure leaves the VM as it was."""

    kind: ClassVar[str] = "vm.pause"
    direction: ClassVar[Direction] = Direction.FORWARD
    step_types: ClassVar[tuple[type[Step], ...]] = (StopCPUs,)
    before: ClassVar[VMState] = VMState.RUNNING
    after: ClassVar[VMState] = VMState.PAUSED

    def steps(self) -> Sequence[Step]:
        return [StopCPUs(self)]

    def succeeded(self) -> dict[str, object]:
        self.save(state=self.after, problem={})
        return {}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        self.save(state=self.before)


class ResumePlan(PausePlan):
    """The reverse of a pause."""

    kind: ClassVar[str] = "vm.resume"
    step_types: ClassVar[tuple[type[Step], ...]] = (ContinueCPUs,)
    before: ClassVar[VMState] = VMState.PAUSED
    after: ClassVar[VMState] = VMState.RUNNING

    def steps(self) -> Sequence[Step]:
        return [ContinueCPUs(self)]
