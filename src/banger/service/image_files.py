"""Steps of plans that make an image of files which are there already."""

from __future__ import annotations

from pathlib import Path

from banger.errors import CorruptState, InvalidInput
from banger.host import files
from banger.host.disk_content import ext_facts, read_head, what_is
from banger.host.ext_files import ExtFiles
from banger.host.kernel_version import kernel_version
from banger.host.threads import in_thread
from banger.service import room
from banger.service.new_image import ImageStep, NewImagePlan
from banger.service.steps import Report

#: What a step observed, as the fields of the image's row.
FIELDS = ("size_bytes", "allocated_bytes", "rootfs_sha256", "kernel_version")


async def copy_into(source: Path, target: Path, min_free_bytes: int) -> None:
    """A file of its own with the content of ``source``: shared blocks, else what is no hole.

    Raises ``HostNotReady`` unless ``min_free_bytes`` stay free on the host.
    """
    with files.explained(f"copy {source} to {target}"):
        if await in_thread(lambda _: files.clone_file(source, target)):
            return
        room.check_disk(target.parent, min_free_bytes + files.allocated_bytes(source))
        await in_thread(lambda stopped: files.copy_sparse(source, target, stopped))


class CopyBootFiles(ImageStep):
    """Kernel, initrd and modules, from the paths in the operation's arguments."""

    name = "boot-files"
    title = "copy the kernel and what belongs to it"

    async def apply(self, report: Report) -> dict[str, object]:
        target, free = self.folders.target, self.context.settings.min_free_bytes
        arguments = self.plan.operation.arguments
        for key, name in (("kernel", "vmlinux"), ("initrd", "initrd.cpio")):
            if arguments.get(key):
                await copy_into(Path(str(arguments[key])), target / name, free)
        if arguments.get("modules"):
            source, guest = Path(str(arguments["modules"])), self.context.drivers.guest
            modules = target / "modules"
            files.remove_tree(modules)
            await in_thread(lambda _: guest.copy_modules(source, modules))
        return {}


class CheckFiles(ImageStep):
    """The file system is whole, and from now on nothing is written any more."""

    name = "check"
    title = "check the image"

    async def apply(self, report: Report) -> dict[str, object]:
        folder = self.folders.target
        rootfs = folder / "rootfs.ext4"
        report(self.title, None, "checking the file system")
        if await in_thread(lambda _: _holds_files(rootfs)):
            await self._repair(rootfs)
        report(self.title, None, "computing the digest")
        allocated, digest = await self.context.drivers.builder.seal(folder)
        files.remove_tree(self.folders.scratch)
        with files.explained(f"read {folder}"):
            version = await in_thread(lambda _: kernel_version(folder / "vmlinux"))
            size = rootfs.stat().st_size
        return dict(zip(FIELDS, (size, allocated, digest, version), strict=True))

    async def _repair(self, rootfs: Path) -> None:
        system = ExtFiles(rootfs, "", self.folders.scratch / "journal", self.context.drivers.run_as)
        try:
            await system.repair(whole=True)
        except CorruptState as damaged:
            source = self.plan.operation.arguments.get("rootfs")
            if not source:
                raise
            raise InvalidInput(
                f"the root file system {source!r:.200} cannot be used",
                cause=damaged.cause,
                resolution=f"e2fsck -f {source}",
                details=damaged.details,
            ) from damaged


class FilesPlan(NewImagePlan):
    """A plan whose last step is ``CheckFiles``."""

    def found(self) -> dict[str, object]:
        observed = self.observed[CheckFiles.name]
        return {key: observed[key] for key in FIELDS}


def _holds_files(rootfs: Path) -> bool:
    head = read_head(rootfs)
    return not what_is(head) and not ext_facts(head).empty
