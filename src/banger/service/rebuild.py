"""The plan that gives a VM a new root file system and keeps everything else of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from banger.model.lifecycle import VMState
from banger.model.vm import VMSpec
from banger.service.create import MakeRootDrive, VMStep, rootfs_spec
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan


def arguments_of(before: VMSpec) -> dict[str, object]:
    """What the journal keeps; the row has the new image from the beginning."""
    return {"before": msgspec.to_builtins(before)}


class RemoveLayer(VMStep):
    """The old layer, over the old image."""

    name = "old-layer"
    title = "throw the writable layer away"

    async def apply(self, report: Report) -> dict[str, object]:
        vm = self.plan.vm
        before = msgspec.convert(self.plan.operation.arguments["before"], VMSpec)
        old = rootfs_spec(self.context, dataclasses.replace(vm, spec=before))
        await self.context.drivers.stores[vm.spec.storage].remove(old)
        return {"removed": True}


class MakeNewRootDrive(MakeRootDrive):
    """A new layer. Where it cannot be made, the VM stays without, and says so."""

    async def undo(self) -> None:
        return


class RebuildPlan(VMPlan):
    """Forward: what is thrown away does not come back."""

    kind: ClassVar[str] = "vm.rebuild"
    direction: ClassVar[Direction] = Direction.FORWARD
    cancellable: ClassVar[bool] = False
    step_types: ClassVar[tuple[type[Step], ...]] = (RemoveLayer, MakeNewRootDrive)

    def steps(self) -> Sequence[Step]:
        return [RemoveLayer(self), MakeNewRootDrive(self)]

    def succeeded(self) -> dict[str, object]:
        vm = self.save(state=VMState.STOPPED, problem={})
        return {"id": vm.id, "name": vm.name, "image": vm.spec.image_name}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        steps = self.context.operations.steps(self.operation.id)
        if any(step.name == RemoveLayer.name and step.observed for step in steps):
            self.save(state=VMState.FAILED, problem=error)
            return
        before = msgspec.convert(self.operation.arguments["before"], VMSpec)
        self.save(spec=before)
