"""Puts an image's three files together out of the tar that mmdebstrap left."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from banger.drivers.image import kernel, rootfs
from banger.drivers.image.digest import content_sha256
from banger.drivers.image.inodes import fix_inodes
from banger.drivers.image.output import BuildOutput
from banger.drivers.image.overlay import EPOCH
from banger.drivers.image.progress import CHECK, FILESYSTEM, KERNEL
from banger.host.files import allocated_bytes, explained, sync_folder
from banger.host.threads import in_thread
from banger.model.image import ImageSpec

#: (folder of the kernel's modules, kernel version, busybox) -> the initrd's bytes.
InitrdMaker = Callable[[Path, str, bytes], bytes]


class Assembly(Struct, frozen=True):
    """What the last steps of a build work on. ``prefix`` enters the namespace of the owners."""

    spec: ImageSpec
    target: Path
    work: Path
    tar: Path
    prefix: tuple[str, ...]
    output: BuildOutput

    @property
    def boot(self) -> Path:
        """What the kernel hook left, unpacked."""
        return self.work / "boot"

    @property
    def tree(self) -> Path:
        """The root tree."""
        return self.work / "tree"

    @property
    def image(self) -> Path:
        return self.target / "rootfs.ext4"


async def unpack_boot(build: Assembly) -> str:
    """Unpack kernel, busybox and the list of packages; returns the kernel's version."""
    build.boot.mkdir()
    await build.output.run(rootfs.unpack_boot_command(build.tar, build.boot))
    return (build.boot / "version").read_text(encoding="utf-8").strip()


async def write_kernel(build: Assembly) -> None:
    """``vmlinux`` from the kernel package's boot image."""
    build.output.report(KERNEL, None, "unpacking the kernel itself")
    content = await kernel.extract_vmlinux((build.boot / "vmlinuz").read_bytes())
    await in_thread(lambda _: write_file(build.target / "vmlinux", content))


async def write_rootfs(build: Assembly) -> None:
    """``rootfs.ext4`` from the root tree, which stays."""
    build.output.report(FILESYSTEM, None, "unpacking the root tree")
    build.tree.mkdir()
    await build.output.run(rootfs.unpack_command(build.prefix, build.tar, build.tree))
    build.tar.unlink()
    build.output.report(FILESYSTEM, None, "writing the file system")
    with explained(f"make {build.image}"), build.image.open("xb") as file:
        file.truncate(build.spec.size_bytes)
    await build.output.run(rootfs.format_command(build.prefix, build.spec, build.tree, build.image))
    await in_thread(lambda _: fix_inodes(build.image, EPOCH))


async def write_initrd(build: Assembly, make: InitrdMaker, version: str) -> None:
    """``initrd.cpio`` from the tree's kernel modules and the static busybox."""
    build.output.report(KERNEL, None, "making the initrd")
    modules = build.tree / "usr/lib/modules" / version
    busybox = (build.boot / "busybox").read_bytes()
    content = await in_thread(lambda _: make(modules, version, busybox))
    await in_thread(lambda _: write_file(build.target / "initrd.cpio", content))


async def check(build: Assembly) -> tuple[int, str]:
    """Check the file system and make it durable; returns its allocated bytes and digest."""
    build.output.report(CHECK, None, "checking the file system")
    await build.output.run(rootfs.check_command(build.image))
    build.output.report(CHECK, None, "computing the digest")
    digest = await in_thread(lambda _: content_sha256(build.image))
    await in_thread(lambda _: _make_durable(build.image))
    return allocated_bytes(build.image), digest


def write_file(path: Path, content: bytes) -> None:
    """A file of the image: durable, and read-only."""
    with explained(f"write {path}"):
        path.write_bytes(content)
        _make_durable(path)


def _make_durable(path: Path) -> None:
    """On disk, and read-only: every VM of the image shares the file."""
    with explained(f"keep {path}"), path.open("rb") as file:
        path.chmod(0o444)
        os.fsync(file.fileno())
        sync_folder(path.parent)


def packages_of(build: Assembly) -> str:
    """The packages in the image: ``NAME VERSION ARCHITECTURE`` in each line."""
    return (build.boot / "packages").read_text(encoding="utf-8")


def fetched_by_hook(build: Assembly) -> frozenset[str]:
    """The .deb files that were used without being installed: the kernel's and busybox's."""
    return frozenset((build.boot / "fetched").read_text(encoding="utf-8").split())
