"""Where a VM's root file system, kernel and initrd lie."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from banger.drivers.guest.base import Guest
from banger.model.image import Image
from banger.model.vm import VM, VMSpec
from banger.paths import Paths
from banger.service.context import Context
from banger.service.requests import CreateRequest


def rootfs_of(paths: Paths, spec: VMSpec) -> Path:
    """The read-only base of the root drive."""
    return Path(spec.rootfs) if spec.rootfs else paths.image(spec.image_id) / "rootfs.ext4"


def kernel_of(paths: Paths, spec: VMSpec) -> Path:
    """The kernel to boot."""
    return Path(spec.kernel) if spec.kernel else paths.image(spec.image_id) / "vmlinux"


def initrd_of(paths: Paths, spec: VMSpec) -> Path | None:
    """The initrd that the identity is appended to; none with a kernel of the user's own."""
    if spec.initrd:
        return Path(spec.initrd)
    return None if spec.kernel else paths.image(spec.image_id) / "initrd.cpio"


def takes_layer(asked: VMSpec | CreateRequest, guest: Guest) -> bool:
    """Whether the identity must go into the VM's own root drive.

    It does where the initrd is not ours or there is none, and where modules go there as well.
    Raises ``BangerError`` if the user's initrd cannot be read.
    """
    if asked.modules or not asked.initrd:
        return bool(asked.modules or asked.kernel)
    return not guest.reads_identity(Path(asked.initrd))


class OwnBoot(NamedTuple):
    """Paths of files that a VM boots instead of an image's own; each may be empty."""

    kernel: str = ""
    initrd: str = ""
    modules: str = ""


def own_boot_of(paths: Paths, image: Image) -> OwnBoot:
    """What a VM of the image boots, unless banger made it and finds its files by its id."""
    if not image.own_boot:
        return OwnBoot()
    folder = paths.image(image.id)
    initrd, modules = folder / "initrd.cpio", folder / "modules"
    return OwnBoot(
        str(folder / "vmlinux"),
        str(initrd) if initrd.exists() else "",
        str(modules) if modules.is_dir() else "",
    )


async def bootable_kernel(context: Context, vm: VM) -> Path:
    """The kernel in a form that the VM's VMM takes. Raises as ``ImageBuilder.plain_kernel``."""
    kernel = kernel_of(context.paths, vm.spec)
    able = context.drivers.vmms[vm.spec.vmm].capabilities()
    if able.compressed_kernel or not vm.spec.kernel:
        return kernel
    target = context.paths.vm_kernel(vm.id)
    return await context.drivers.builder.plain_kernel(kernel, target)
