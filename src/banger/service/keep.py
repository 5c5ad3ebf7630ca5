"""The plan that makes an image of a stopped VM's root file system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from banger.drivers.guest.base import ForgetTarget
from banger.errors import NotFound
from banger.host.disk_content import read_head, what_is
from banger.host.threads import in_thread
from banger.model.vm import VM
from banger.service.boot_files import rootfs_of
from banger.service.create import rootfs_spec
from banger.service.image_files import CheckFiles, CopyBootFiles, FilesPlan
from banger.service.new_image import ImageStep, MakeFolders
from banger.service.steps import Report, Step


def source_of(step: ImageStep) -> VM:
    """The VM of the operation. Raises ``NotFound`` if it is gone."""
    vm_id = str(step.plan.operation.arguments["vm"])
    vm = step.context.vms.get(vm_id)
    if vm is None:
        raise NotFound(f"no VM {vm_id}", cause="its row is gone", resolution="banger ls")
    return vm


class Flatten(ImageStep):
    """One file with all that the VM's root drive holds."""

    name = "rootfs"
    title = "copy the VM's root file system"

    async def apply(self, report: Report) -> dict[str, object]:
        vm = source_of(self)
        store = self.context.drivers.stores[vm.spec.storage]
        await store.flatten(rootfs_spec(self.context, vm), self.folders.target / "rootfs.ext4")
        return {}


class ForgetIdentity(ImageStep):
    """What banger had written for that one VM goes; what the image had comes back."""

    name = "identity"
    title = "take the VM's identity out"

    async def apply(self, report: Report) -> dict[str, object]:
        rootfs = self.folders.target / "rootfs.ext4"
        if not await in_thread(lambda _: what_is(read_head(rootfs))):
            target = ForgetTarget(
                device=rootfs,
                base=rootfs_of(self.context.paths, source_of(self).spec),
                journal=self.folders.scratch / "journal",
                run_as=self.context.drivers.run_as,
            )
            await self.context.drivers.guest.forget_identity(target)
        return {}


class KeepPlan(FilesPlan):
    """As every new image; the VM stays as it is meanwhile."""

    kind: ClassVar[str] = "image.keep"
    step_types: ClassVar[tuple[type[Step], ...]] = (
        MakeFolders,
        Flatten,
        ForgetIdentity,
        CopyBootFiles,
        CheckFiles,
    )

    @classmethod
    def also_busy(cls, arguments: Mapping[str, object]) -> tuple[str, ...]:
        return (str(arguments["vm"]),)

    def steps(self) -> Sequence[Step]:
        return [
            MakeFolders(self),
            Flatten(self),
            ForgetIdentity(self),
            CopyBootFiles(self),
            CheckFiles(self),
        ]
