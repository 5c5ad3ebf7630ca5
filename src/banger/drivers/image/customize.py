"""Makes an image out of another root file system, which is neither mounted nor booted.

Its files are taken out into a tree (``ext4``), changed there, and written into a new file system as
a build does. All of that happens without a right on the host (``inside``, ``guest_root``).
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct, structs

from banger.drivers.image import kept, rootfs, workspace
from banger.drivers.image.assembly import Assembly, InitrdMaker, check
from banger.drivers.image.base import BuildFolders, BuiltImage, ProgressCallback
from banger.drivers.image.ext4.extract import Kept
from banger.drivers.image.ext4.volume import Damaged, Volume
from banger.drivers.image.failures import explain
from banger.drivers.image.inodes import fix_inodes
from banger.drivers.image.output import BuildOutput
from banger.drivers.image.overlay import EPOCH
from banger.drivers.image.progress import FILESYSTEM, UNPACK
from banger.drivers.image.tree_kernel import TreeKernel
from banger.drivers.image.tree_packages import TreePackages
from banger.drivers.image.user_namespace import UserNamespace
from banger.errors import CommandFailed, InvalidInput
from banger.host.command import Command, find_program, run
from banger.host.files import copy_sparse, explained
from banger.host.threads import in_thread
from banger.model.image import Customization, ImageSpec

_PROGRAMS = ("mke2fs", "e2fsck", "debugfs")
_TIMEOUT = 1800.0
#: e2fsck(8): errors were corrected; the second asks for a reboot, which nothing mounted needs.
_CORRECTED = (0, 1, 2, 3)


class Customizer(Struct, frozen=True):
    """Customises images. ``apt`` is the host's ``/etc/apt``."""

    is_root: bool
    initrd: InitrdMaker
    apt: Path

    async def run(
        self, wanted: Customization, folders: BuildFolders, progress: ProgressCallback
    ) -> BuiltImage:
        """See ``ImageBuilder.customize``."""
        rootfs.check_size(wanted.size_bytes)
        for program in _PROGRAMS:
            find_program(program, "e2fsprogs")
        namespace = UserNamespace(self.is_root)
        await namespace.check()
        used = read_volume(Path(wanted.rootfs)).used_bytes
        output = BuildOutput(folders.log, progress)
        work = workspace.make(folders.scratch, is_root=self.is_root, content=used)
        build = Assembly(
            spec=_spec_of(wanted),
            target=folders.target,
            work=work,
            tar=work / "base.tar",
            prefix=namespace.programs,
            output=output,
        )
        try:
            return await self._make(wanted, build, namespace, folders.debs)
        except CommandFailed as failure:
            raise explain(
                wanted.name, wanted.suite, failure, list(output.tail), "banger image customize"
            ) from failure
        finally:
            await workspace.remove(folders.scratch, () if self.is_root else rootfs.NAMESPACE)

    async def _make(
        self, wanted: Customization, build: Assembly, namespace: UserNamespace, debs: Path
    ) -> BuiltImage:
        left = await self._extract(wanted, build, namespace)
        kernel = TreeKernel(wanted, build, namespace, self.initrd)
        version = await kernel.write_kernel()
        modules = await kernel.add_modules(version)
        packages = TreePackages(wanted, build, namespace, self.apt, debs)
        added = bool(wanted.modules or wanted.modules_of)
        count = 0
        if added or wanted.packages or wanted.docker:
            count = await packages.install(version if added else "")
        await kernel.write_initrd(version, modules)
        await self._write_rootfs(build, namespace, left)
        allocated, digest = await check(build)
        return BuiltImage(
            size_bytes=wanted.size_bytes,
            allocated_bytes=allocated,
            rootfs_sha256=digest,
            kernel_version=version,
            package_count=count,
        )

    async def _extract(
        self, wanted: Customization, build: Assembly, namespace: UserNamespace
    ) -> list[Kept]:
        build.output.report(UNPACK, None, "taking the files out of the base")
        source = await _settled(Path(wanted.rootfs), build, namespace)
        namespace.make_folder(build.tree)
        with explained(f"read {source}"), source.open("rb") as file:
            argv = (*namespace.enter, "extract", str(file.fileno()), str(build.tree))
            command = Command(argv, timeout=_TIMEOUT, descriptors=(file.fileno(),))
            try:
                return kept.parse((await run(command)).stdout)
            except CommandFailed as failure:
                raise _unreadable(wanted.rootfs, (failure.cause or "").removeprefix("banger: "),
                                  failure.details) from failure  # fmt: skip

    async def _write_rootfs(
        self, build: Assembly, namespace: UserNamespace, left: list[Kept]
    ) -> None:
        build.output.report(FILESYSTEM, None, "writing the file system")
        with explained(f"make {build.image}"), build.image.open("xb") as file:
            file.truncate(build.spec.size_bytes)
        with namespace.lent(build.image) as opened:
            command = rootfs.format_command(
                build.prefix, build.spec, build.tree, Path(f"/proc/self/fd/{opened}")
            )
            await build.output.run(structs.replace(command, descriptors=(opened,)))
            if left:
                argv = (*namespace.enter, "keepable", str(build.tree))
                done = await run(Command(argv, stdin=msgspec.json.encode(left), timeout=_TIMEOUT))
                await kept.put_back(build.prefix, build.image, opened, kept.parse(done.stdout))
        await in_thread(lambda _: fix_inodes(build.image, EPOCH))


def read_volume(path: Path) -> Volume:
    """The file system in a file. The file is closed again: only its facts may be looked at.

    Raises ``InvalidInput`` for one that cannot be read.
    """
    try:
        with path.open("rb") as file:
            return Volume(file.fileno())
    except (Damaged, OSError) as error:
        cause = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise _unreadable(str(path), cause) from error


async def _settled(source: Path, build: Assembly, namespace: UserNamespace) -> Path:
    """The file, or a copy whose journal is replayed if its file system was not unmounted."""
    if not read_volume(source).needs_recovery:
        return source
    copy = build.work / "base.ext4"
    await in_thread(lambda stopped: copy_sparse(source, copy, stopped))
    copy.chmod(0o600)
    with namespace.lent(copy) as opened:
        path = f"/proc/self/fd/{opened}"
        await build.output.run(
            Command(
                (*namespace.programs, "e2fsck", "-f", "-y", path),
                timeout=_TIMEOUT,
                ok_statuses=_CORRECTED,
                descriptors=(opened,),
            )
        )
    return copy


def _spec_of(wanted: Customization) -> ImageSpec:
    return ImageSpec(
        name=wanted.name,
        suite=wanted.suite,
        packages=wanted.packages,
        packages_sha256="",
        size_bytes=wanted.size_bytes,
        docker=wanted.docker,
    )


def _unreadable(path: str, cause: str, details: str = "") -> InvalidInput:
    return InvalidInput(
        f"the root file system {path} cannot be read",
        cause=cause,
        resolution=f"e2fsck -f -n {path}",
        details=details,
    )
