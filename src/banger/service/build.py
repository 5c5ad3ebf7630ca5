"""The plan that builds an image and puts it in the place of an older one of its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec import structs

from banger.drivers.image.base import BuiltImage
from banger.host import files
from banger.model.image import ImageSpec
from banger.service.new_image import ImageStep, MakeFolders, NewImagePlan
from banger.service.steps import Report, Step


class Build(ImageStep):
    """Everything the builder does; its phases are the operation's progress."""

    name = "build"
    title = "build the image"

    async def apply(self, report: Report) -> dict[str, object]:
        arguments = self.plan.operation.arguments
        spec = msgspec.convert(arguments["spec"], ImageSpec)
        built = await self.context.drivers.builder.build(spec, self.folders, report)
        files.remove_tree(self.folders.scratch)
        return structs.asdict(built)


class BuildPlan(NewImagePlan):
    """As every new image, from a package archive."""

    kind: ClassVar[str] = "image.build"
    step_types: ClassVar[tuple[type[Step], ...]] = (MakeFolders, Build)

    def steps(self) -> Sequence[Step]:
        return [MakeFolders(self), Build(self)]

    def found(self) -> dict[str, object]:
        built = BuiltImage(**self.observed["build"])  # type: ignore[arg-type]  # by Build.apply
        return {
            "size_bytes": built.size_bytes,
            "allocated_bytes": built.allocated_bytes,
            "rootfs_sha256": built.rootfs_sha256,
            "kernel_version": built.kernel_version,
        }

    def succeeded(self) -> dict[str, object]:
        result = super().succeeded()
        return {**result, "package_count": self.observed["build"]["package_count"]}
