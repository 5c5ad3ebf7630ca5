"""The plan that makes an image of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from msgspec import structs

from banger.drivers.image.base import ImportedImage, ImportSpec
from banger.errors import InvalidInput
from banger.host import files
from banger.host.kernel_version import kernel_version
from banger.host.threads import in_thread
from banger.service.image_files import CopyBootFiles
from banger.service.new_image import ImageStep, MakeFolders, NewImagePlan
from banger.service.steps import Report, Step


class Unpack(ImageStep):
    """The root file system; the importer's phases are the operation's progress."""

    name = "unpack"
    title = "unpack the archive"

    async def apply(self, report: Report) -> dict[str, object]:
        arguments = self.plan.operation.arguments
        base = str(arguments["base"])
        spec = ImportSpec(
            archive=Path(str(arguments["archive"])),
            size_bytes=int(str(arguments["size_bytes"])),
            base=Path(base) if base else None,
            modules=str(arguments["version"]),
        )
        imported = await self.context.drivers.importer.unpack(spec, self.folders, report)
        return structs.asdict(imported)


class Seal(ImageStep):
    """From now on nothing is written any more."""

    name = "seal"
    title = "compute the digest"

    async def apply(self, report: Report) -> dict[str, object]:
        folder = self.folders.target
        allocated, digest = await self.context.drivers.builder.seal(folder)
        files.remove_tree(self.folders.scratch)
        expected = self.plan.observed[Unpack.name]["exported_sha256"]
        if expected and digest != expected:
            raise InvalidInput(
                f"{self.plan.operation.arguments['archive']} cannot be imported",
                cause="its root file system is not the one that was exported",
                resolution="banger image export NAME --out FILE, where it came from",
            )
        with files.explained(f"read {folder}"):
            version = await in_thread(lambda _: kernel_version(folder / "vmlinux"))
        return {
            "allocated_bytes": allocated,
            "rootfs_sha256": digest,
            "kernel_version": version,
        }


class ImportPlan(NewImagePlan):
    """As every new image, from an archive."""

    kind: ClassVar[str] = "image.import"
    step_types: ClassVar[tuple[type[Step], ...]] = (MakeFolders, CopyBootFiles, Unpack, Seal)

    def steps(self) -> Sequence[Step]:
        return [MakeFolders(self), CopyBootFiles(self), Unpack(self), Seal(self)]

    def found(self) -> dict[str, object]:
        imported = ImportedImage(**self.observed[Unpack.name])  # type: ignore[arg-type]  # its own
        return {
            **self.observed[Seal.name],
            "size_bytes": imported.size_bytes,
            "suite": imported.suite,
            "origin": imported.origin,
            "docker": imported.docker,
            "own_boot": self.image.own_boot or imported.own_boot,
            "carries_agent": imported.carries_agent,
            "container": imported.container,
        }
