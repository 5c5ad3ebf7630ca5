"""The plan that gives a stopped VM another name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from banger.service.create import VMStep
from banger.service.ssh_files import write_ssh_files
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan


class ChangeName(VMStep):
    """Swaps the reservation and the row in one transaction."""

    name = "name"
    title = "change the name"

    async def apply(self, report: Report) -> dict[str, object]:
        return {"from": self.plan.vm.name}

    def commit(self, observed: dict[str, object]) -> None:
        old, new = str(observed["from"]), str(self.plan.operation.arguments["name"])
        self.plan.save(name=new)
        if old != new:
            self.context.resources.release(self.vm_id, [("vm-name", old)])


class RenamePlan(VMPlan):
    """Forward: the new name was reserved when the operation was admitted."""

    kind: ClassVar[str] = "vm.rename"
    direction: ClassVar[Direction] = Direction.FORWARD
    cancellable: ClassVar[bool] = False
    step_types: ClassVar[tuple[type[Step], ...]] = (ChangeName,)

    def steps(self) -> Sequence[Step]:
        return [ChangeName(self)]

    def succeeded(self) -> dict[str, object]:
        self.operation = dataclasses.replace(self.operation, target_name=self.vm.name)
        return {"name": self.vm.name}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        new = str(self.operation.arguments["name"])
        if self.vm.name != new:
            self.context.resources.release(self.vm.id, [("vm-name", new)])

    async def settle(self) -> None:
        await super().settle()
        write_ssh_files(self.context)
