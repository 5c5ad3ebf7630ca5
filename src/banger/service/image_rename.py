"""The plan that gives an image another name, also for the VMs that were made from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from banger.host.threads import in_thread
from banger.model.image import Image
from banger.model.vm import VM
from banger.service import record
from banger.service.context import Context
from banger.service.new_image import NAME, ImageStep
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import ImagePlan


class ChangeImageName(ImageStep):
    """The row of the image and those of its VMs, in one transaction."""

    name = "name"
    title = "change the name"

    async def apply(self, report: Report) -> dict[str, object]:
        return {"from": self.plan.image.name}

    def commit(self, observed: dict[str, object]) -> None:
        name = str(self.plan.operation.arguments["name"])
        image = self.plan.save(name=name)
        for vm in self.context.vms.by_image(image.id):
            self.context.change_vm(vm, spec=dataclasses.replace(vm.spec, image_name=name))
        self.context.resources.release(image.id, [(NAME, name)])


class ImageRenamePlan(ImagePlan):
    """Forward: the new name was reserved when the operation was admitted."""

    kind: ClassVar[str] = "image.rename"
    direction: ClassVar[Direction] = Direction.FORWARD
    cancellable: ClassVar[bool] = False
    step_types: ClassVar[tuple[type[Step], ...]] = (ChangeImageName,)

    def steps(self) -> Sequence[Step]:
        return [ChangeImageName(self)]

    def succeeded(self) -> dict[str, object]:
        self.operation = dataclasses.replace(self.operation, target_name=self.image.name)
        return {"id": self.image.id, "name": self.image.name}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        new = str(self.operation.arguments["name"])
        self.context.resources.release(self.operation.target_id, [(NAME, new)])

    async def settle(self) -> None:
        image = self.context.images.get(self.operation.target_id)
        if image is not None:
            vms = self.context.vms.by_image(image.id)
            await in_thread(lambda _: _write(self.context, image, vms))


def _write(context: Context, image: Image, vms: Sequence[VM]) -> None:
    record.write_image(context.paths, image)
    for vm in vms:
        record.write_vm(context, vm)
