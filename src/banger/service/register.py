"""The plan that makes an image of a user's own files, which stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from banger.service.image_files import CheckFiles, CopyBootFiles, FilesPlan, copy_into
from banger.service.new_image import ImageStep, MakeFolders
from banger.service.steps import Report, Step


class CopyRootfs(ImageStep):
    """The root file system."""

    name = "rootfs"
    title = "copy the root file system"

    async def apply(self, report: Report) -> dict[str, object]:
        source = Path(str(self.plan.operation.arguments["rootfs"]))
        free = self.context.settings.min_free_bytes
        await copy_into(source, self.folders.target / "rootfs.ext4", free)
        return {}


class RegisterPlan(FilesPlan):
    """As every new image, from files that were checked when it was admitted."""

    kind: ClassVar[str] = "image.register"
    step_types: ClassVar[tuple[type[Step], ...]] = (
        MakeFolders,
        CopyRootfs,
        CopyBootFiles,
        CheckFiles,
    )

    def steps(self) -> Sequence[Step]:
        return [MakeFolders(self), CopyRootfs(self), CopyBootFiles(self), CheckFiles(self)]
