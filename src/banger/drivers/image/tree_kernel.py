"""The kernel of a customised image: the file itself, its modules and its initrd."""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec import Struct

from banger.drivers.image import docker, kernel
from banger.drivers.image.assembly import Assembly, InitrdMaker, write_file
from banger.drivers.image.progress import KERNEL
from banger.drivers.image.user_namespace import UserNamespace, make_readable_folder
from banger.errors import CommandFailed, InvalidInput
from banger.host.command import Command, run
from banger.host.files import explained
from banger.host.kernel_version import kernel_version
from banger.host.static_busybox import static_busybox
from banger.host.threads import in_thread
from banger.model.image import Customization

_TIMEOUT = 600.0


class TreeKernel(Struct, frozen=True):
    """Works on one customisation."""

    wanted: Customization
    build: Assembly
    namespace: UserNamespace
    initrd: InitrdMaker

    async def write_kernel(self) -> str:
        """``vmlinux`` from the kernel that is wanted; returns its version."""
        self.build.output.report(KERNEL, None, "unpacking the kernel itself")
        unpacked = self.build.work / "vmlinux"
        source = await kernel.unpacked_kernel(Path(self.wanted.kernel), unpacked)
        content = await in_thread(lambda _: source.read_bytes())
        kernel.check_vmlinux(content)
        await in_thread(lambda _: write_file(self.build.target / "vmlinux", content))
        return version_of(self.build.target / "vmlinux", self.wanted.kernel)

    async def add_modules(self, version: str) -> Path | None:
        """Put the modules that are not there yet into the tree; returns a folder of all of them.

        The folder is on the host and holds plain files alone. None: nothing needs it, or the
        kernel has no modules. Raises ``InvalidInput`` if what needs them finds none.
        """
        wanted, folder = self.wanted, self.build.work / "modules" / version
        if not (wanted.modules or wanted.modules_of or wanted.ours or wanted.docker):
            return None
        self.build.output.report(KERNEL, None, f"the modules of {version}")
        make_readable_folder(folder.parent)
        if wanted.modules:
            source = find_version(Path(wanted.modules), version)
            await in_thread(lambda _: copy_plain(source, folder))
        elif not await self._extract(Path(wanted.modules_of or wanted.rootfs), version, folder):
            raise InvalidInput(
                f"the image {wanted.name} cannot be made with this kernel",
                cause=f"there are no modules of the kernel {version}",
                resolution="give them: --modules /lib/modules/VERSION",
            )
        if wanted.docker:
            docker.check_modules(folder)
        if wanted.modules or wanted.modules_of:
            target = f"/lib/modules/{version}"
            argv = (*self.namespace.enter, "copy", str(folder), str(self.build.tree), target)
            await run(Command(argv, timeout=_TIMEOUT))
        return folder

    async def write_initrd(self, version: str, modules: Path | None) -> None:
        """``initrd.cpio``: the one that is wanted, or one of ours; none if neither is."""
        target = self.build.target / "initrd.cpio"
        if self.wanted.initrd:
            with explained(f"read {self.wanted.initrd}"):
                content = await in_thread(lambda _: Path(self.wanted.initrd).read_bytes())
        elif self.wanted.ours and modules is not None:
            self.build.output.report(KERNEL, None, "making the initrd")
            content = await in_thread(
                lambda _: self.initrd(modules, version, static_busybox().read_bytes())
            )
        else:
            return
        await in_thread(lambda _: write_file(target, content))

    async def _extract(self, image: Path, version: str, folder: Path) -> bool:
        self.namespace.make_folder(folder)
        with explained(f"read {image}"), image.open("rb") as file:
            argv = ("extract-below", str(file.fileno()), str(folder), f"/lib/modules/{version}")
            try:
                await run(
                    Command(
                        (*self.namespace.enter, *argv),
                        timeout=_TIMEOUT,
                        descriptors=(file.fileno(),),
                    )
                )
            except CommandFailed as failure:
                if "No such file" in failure.cause:
                    return False
                raise
        return True


def version_of(vmlinux: Path, shown: str) -> str:
    """The version that a kernel says it is. Raises ``InvalidInput``."""
    with explained(f"read {vmlinux}"):
        version = kernel_version(vmlinux)
    if not version:
        raise InvalidInput(
            f"the kernel {shown} cannot be used",
            cause="it does not say its version: no Linux kernel",
            resolution=f"file {shown}",
        )
    return version


def find_version(folder: Path, version: str) -> Path:
    """The folder of one kernel's modules in a folder of the user's. Raises ``InvalidInput``."""
    if folder.name == version and (folder / "kernel").is_dir():
        return folder
    for top in (folder, folder / "lib/modules", folder / "usr/lib/modules"):
        if (top / version / "kernel").is_dir():
            return top / version
    raise InvalidInput(
        f"the modules folder {folder} cannot be used",
        cause=f"it holds no modules of the kernel {version}",
        resolution=f"give the folder of that kernel, such as /lib/modules/{version}",
    )


def copy_plain(source: Path, target: Path) -> None:
    """A copy of the folders and plain files, readable by all; links are left out."""
    make_readable_folder(target)
    with explained(f"copy {source}"):
        for path in sorted(source.iterdir()):
            if path.is_symlink():
                continue
            if path.is_dir():
                copy_plain(path, target / path.name)
            elif path.is_file():
                shutil.copyfile(path, target / path.name)
                (target / path.name).chmod(0o644)
