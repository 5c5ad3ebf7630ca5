"""The plan that deletes an image nobody uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from banger.service.new_image import ImageStep
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import ImagePlan


class RemoveFiles(ImageStep):
    """The image's folder."""

    name = "files"
    title = "delete the image's files"

    async def apply(self, report: Report) -> dict[str, object]:
        await self.context.drivers.builder.clean(self.folders)
        return {}


class ImageDeletePlan(ImagePlan):
    """Forward: a delete that was begun is finished by recovery."""

    kind: ClassVar[str] = "image.delete"
    direction: ClassVar[Direction] = Direction.FORWARD
    cancellable: ClassVar[bool] = False
    step_types: ClassVar[tuple[type[Step], ...]] = (RemoveFiles,)

    def steps(self) -> Sequence[Step]:
        return [RemoveFiles(self)]

    def succeeded(self) -> dict[str, object]:
        self.context.images.delete(self.operation.target_id)
        self.context.events.publish(
            "image-deleted", {"id": self.operation.target_id, "name": self.operation.target_name}
        )
        return {}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        """The row stays ``deleting``: the next delete goes on where this one stopped."""
