"""Builds images from the Debian archive: mmdebstrap, then mke2fs, and nothing is ever mounted."""

from __future__ import annotations

import os
from pathlib import Path

from banger.drivers.image import (
    apt_options,
    debs,
    docker,
    kernel,
    overlay,
    rootfs,
    sources,
    workspace,
)
from banger.drivers.image.assembly import (
    Assembly,
    InitrdMaker,
    check,
    fetched_by_hook,
    packages_of,
    unpack_boot,
    write_initrd,
    write_kernel,
    write_rootfs,
)
from banger.drivers.image.base import BuildFolders, BuiltImage, ProgressCallback
from banger.drivers.image.customize import Customizer
from banger.drivers.image.failures import explain
from banger.drivers.image.kernel import unpacked_kernel
from banger.drivers.image.mmdebstrap import PRIVATE_MOUNTS, Bootstrap, build_command
from banger.drivers.image.output import BuildOutput
from banger.drivers.image.packages import install_list
from banger.drivers.image.seal import seal
from banger.errors import CommandFailed, HostNotReady
from banger.host import files
from banger.host.command import Command, find_program, run
from banger.host.threads import in_thread
from banger.model.image import Customization, ImageSpec

#: Program -> Debian package.
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "tar": "tar",
    # The two ways in which Debian compresses kernels.
    "zstd": "zstd",
    "lz4": "lz4",
}
UNPRIVILEGED_PROGRAMS = {"unshare": "util-linux", "newuidmap": "uidmap"}
_ARCHITECTURE = "amd64"


class DebianBuilder:
    """Implements ``ImageBuilder`` for Debian suites, as root or in a user namespace."""

    name = "mmdebstrap"

    def __init__(self, initrd: InitrdMaker, *, apt: Path = Path("/etc/apt")) -> None:
        self._initrd = initrd
        self._apt = apt
        self._is_root = os.geteuid() == 0
        self._prefix = () if self._is_root else rootfs.NAMESPACE

    async def build(
        self, spec: ImageSpec, folders: BuildFolders, progress: ProgressCallback
    ) -> BuiltImage:
        """See ``ImageBuilder``. Raises ``InvalidInput`` for what the spec says wrongly."""
        sources.check_suite(spec.suite)
        rootfs.check_size(spec.size_bytes)
        wanted = install_list(_packages_of(spec))
        await self._check_host()
        output = BuildOutput(folders.log, progress)
        work = workspace.make(folders.scratch, is_root=self._is_root)
        try:
            plan = await self._plan(spec, folders, wanted, work)
            await output.run(build_command(plan))
            build = Assembly(spec, folders.target, work, plan.tar, self._prefix, output)
            return await self._assemble(build, plan)
        except CommandFailed as failure:
            raise explain(spec.name, spec.suite, failure, list(output.tail)) from failure
        finally:
            await workspace.remove(folders.scratch, self._prefix)

    async def customize(
        self, wanted: Customization, folders: BuildFolders, progress: ProgressCallback
    ) -> BuiltImage:
        """See ``ImageBuilder``."""
        customizer = Customizer(self._is_root, self._initrd, self._apt)
        return await customizer.run(wanted, folders, progress)

    async def plain_kernel(self, kernel: Path, target: Path) -> Path:
        """See ``ImageBuilder``."""
        return await unpacked_kernel(kernel, target)

    async def seal(self, folder: Path) -> tuple[int, str]:
        """See ``ImageBuilder``."""
        return await in_thread(lambda _: seal(folder))

    async def clean(self, folders: BuildFolders) -> None:
        """See ``ImageBuilder``. Also ends what a killed daemon's build still runs."""
        await workspace.end_leftovers(folders.scratch)
        await workspace.remove(folders.scratch, self._prefix)
        await in_thread(lambda _: files.remove_tree(folders.scratch))
        await in_thread(lambda _: files.remove_tree(folders.target))

    async def _check_host(self) -> None:
        for program, package in PROGRAMS.items():
            find_program(program, package)
        if self._is_root:
            return
        for program, package in UNPRIVILEGED_PROGRAMS.items():
            find_program(program, package)
        try:
            await run(Command((*self._prefix, "true"), timeout=10))
        except CommandFailed as failure:
            raise HostNotReady(
                "an ordinary user cannot build images here",
                cause=f"user namespaces with several ids are not allowed: {failure.cause}",
                resolution="sudo usermod --add-subuids 100000-165535"
                " --add-subgids 100000-165535 $USER, or build as root",
                details=failure.details,
            ) from failure

    async def _mount_prefix(self) -> tuple[str, ...]:
        if not self._is_root:
            return ()  # the user namespace that mmdebstrap makes has its own mounts
        try:
            await run(Command((*PRIVATE_MOUNTS, "true"), package="util-linux", timeout=10))
        except CommandFailed:
            # A container without that right cannot mount either, and mmdebstrap does without.
            return ()
        return PRIVATE_MOUNTS

    async def _plan(
        self, spec: ImageSpec, folders: BuildFolders, wanted: tuple[str, ...], work: Path
    ) -> Bootstrap:
        dump = await run(Command(("apt-config", "dump"), package="apt", timeout=30))
        options = apt_options.parse_options(dump.text)
        found = sources.pick(sources.read_host_sources(self._apt), spec.suite, _ARCHITECTURE)
        plan = Bootstrap(
            mode="root" if self._is_root else "unshare",
            prefix=await self._mount_prefix(),
            suite=spec.suite,
            packages=wanted,
            kernels=kernel.METAPACKAGES,
            apt_options=options,
            sources=folders.scratch / "banger.sources" if found else None,
            overlay=folders.scratch / "overlay.tar",
            # Versions that one suite has replaced are another one's newest.
            debs=folders.debs / spec.suite,
            new_debs=folders.scratch / "debs",
            work=work,
            on_demand=docker.UNITS_AT_BOOT if spec.docker else (),
        )
        files.make_private_folder(plan.debs)
        await in_thread(lambda _: debs.verify(plan.debs))
        if plan.sources:
            plan.sources.write_text(sources.render(found), encoding="utf-8")
        plan.overlay.write_bytes(overlay.default_overlay(apt_options.render_for_guest(options)))
        return plan

    async def _assemble(self, build: Assembly, plan: Bootstrap) -> BuiltImage:
        version = await unpack_boot(build)
        installed = packages_of(build)
        used = debs.parse_installed(installed) | fetched_by_hook(build)
        await in_thread(lambda _: debs.adopt(plan.new_debs, plan.debs, used))
        await write_kernel(build)
        await write_rootfs(build)
        if build.spec.docker:
            docker.check_modules(build.tree / "usr/lib/modules" / version)
        await write_initrd(build, self._initrd, version)
        allocated, digest = await check(build)
        return BuiltImage(
            size_bytes=build.spec.size_bytes,
            allocated_bytes=allocated,
            rootfs_sha256=digest,
            kernel_version=version,
            package_count=len(installed.splitlines()),
        )


def _packages_of(spec: ImageSpec) -> tuple[str, ...]:
    return (*spec.packages, *docker.packages_for(spec.suite)) if spec.docker else spec.packages
