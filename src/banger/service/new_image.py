"""What every plan that makes an image has in common: its folder, its files, its row."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import ClassVar

from banger.drivers.image.base import BuildFolders
from banger.host import files
from banger.model.image import Image, ImageState
from banger.model.operation import Operation, Presence
from banger.service import record, room
from banger.service.context import Context
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import ImagePlan

#: The reservation of a name for an image that is being made or renamed.
NAME = "image-build"


class ImageStep(Step):
    """A step of a plan on an image."""

    def __init__(self, plan: ImagePlan) -> None:
        self.plan = plan
        self.context = plan.context
        self.image_id = plan.operation.target_id

    @property
    def folders(self) -> BuildFolders:
        paths = self.context.paths
        return BuildFolders(
            target=paths.image(self.image_id),
            scratch=paths.scratch / self.image_id,
            debs=paths.debs,
            log=paths.operation_log(self.plan.operation.id),
        )


class MakeFolders(ImageStep):
    """Room for the work and for its result."""

    name = "folders"
    title = "make room for the image"

    def probe(self) -> Presence:
        return Presence.OURS if self.folders.target.is_dir() else Presence.ABSENT

    async def apply(self, report: Report) -> dict[str, object]:
        room.check_floor(self.context)
        for folder in (
            self.folders.target,
            self.folders.scratch,
            self.folders.debs,
            self.folders.log.parent,
        ):
            files.make_private_folder(folder)
        return {}

    async def undo(self) -> None:
        await self.context.drivers.builder.clean(self.folders)


class NewImagePlan(ImagePlan):
    """Backward: an unfinished image leaves nothing. ``arguments["name"]`` is its name."""

    direction: ClassVar[Direction] = Direction.BACKWARD

    def __init__(self, context: Context, operation: Operation) -> None:
        super().__init__(context, operation)
        self._superseded: Image | None = None
        self._renamed: Image | None = None

    @abstractmethod
    def found(self) -> dict[str, object]:
        """The fields of the row that the steps have found out, ``size_bytes`` and so on."""

    def succeeded(self) -> dict[str, object]:
        name = str(self.operation.arguments["name"])
        older = self.context.images.by_name(name)
        if older is not None and older.id != self.image.id:
            self._make_way(older)
        image = self.save(name=name, state=ImageState.READY, created_at=time.time(), **self.found())
        self.context.resources.release(image.id)
        return {"id": image.id, "name": name}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        self.context.images.delete(self.operation.target_id)
        self.context.resources.release(self.operation.target_id)
        self.context.events.publish("image-deleted", {"id": self.operation.target_id})

    async def settle(self) -> None:
        if self._superseded is not None:
            files.remove_tree(self.context.paths.image(self._superseded.id))
            self._superseded = None
        if self._renamed is not None:
            record.write_image(self.context.paths, self._renamed)
            self._renamed = None
        image: Image | None = self.context.images.get(self.operation.target_id)
        if image is not None and image.state is ImageState.READY:
            record.write_image(self.context.paths, image)

    def _make_way(self, older: Image) -> None:
        """An image in use goes on under another name; one that nobody uses goes."""
        if self.context.vms.by_image(older.id):
            self._renamed = self.context.images.rename(older, f"{older.name}-{older.id[:6]}")
            self.context.events.publish("image", self._renamed)
            return
        self.context.images.delete(older.id)
        self.context.events.publish("image-deleted", {"id": older.id, "name": older.name})
        self._superseded = older
