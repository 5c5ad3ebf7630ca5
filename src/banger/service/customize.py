"""The plan that makes an image out of another one, or out of a user's root file system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec import structs

from banger.drivers.image.base import BuiltImage
from banger.host import files
from banger.model.image import Customization
from banger.service.new_image import ImageStep, MakeFolders, NewImagePlan
from banger.service.steps import Report, Step


class Customize(ImageStep):
    """Everything the builder does; its phases are the operation's progress."""

    name = "customize"
    title = "customise the image"

    async def apply(self, report: Report) -> dict[str, object]:
        wanted = msgspec.convert(self.plan.operation.arguments["wanted"], Customization)
        built = await self.context.drivers.builder.customize(wanted, self.folders, report)
        files.remove_tree(self.folders.scratch)
        return structs.asdict(built)


class CustomizePlan(NewImagePlan):
    """As every new image; the images that it is made of stay as they are meanwhile."""

    kind: ClassVar[str] = "image.customize"
    step_types: ClassVar[tuple[type[Step], ...]] = (MakeFolders, Customize)

    @classmethod
    def also_busy(cls, arguments: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(msgspec.convert(arguments["images"], list[str]))

    def steps(self) -> Sequence[Step]:
        return [MakeFolders(self), Customize(self)]

    def found(self) -> dict[str, object]:
        built = BuiltImage(**self.observed["customize"])  # type: ignore[arg-type]  # by Customize
        return {
            "size_bytes": built.size_bytes,
            "allocated_bytes": built.allocated_bytes,
            "rootfs_sha256": built.rootfs_sha256,
            "kernel_version": built.kernel_version,
        }
