"""Imports archives: a confined process checks and unpacks them into a file system of mke2fs's."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from banger.drivers.image import confined, own_archive, rootfs, workspace
from banger.drivers.image.base import BuildFolders, ImportedImage, ImportSpec, ProgressCallback
from banger.drivers.image.confined import Confined
from banger.drivers.image.guest_parts import GuestParts
from banger.errors import CommandFailed
from banger.host.command import Command, find_program, run
from banger.host.ext_files import dropping
from banger.host.files import copy_sparse, explained, remove_tree
from banger.host.threads import in_thread

#: Program -> Debian package.
PROGRAMS = {"mke2fs": "e2fsprogs", "e2fsck": "e2fsprogs", "debugfs": "e2fsprogs"}
#: The architecture as image configurations name it.
_ARCHITECTURE = "amd64"
_NAMESPACE = uuid.UUID("0d6c9a51-1b0e-5f0e-8f5e-1c7a3d2b6e55")
_TIMEOUT = 600.0
READ, FILL, VERIFY = "reading", "filesystem", "check"


class ArchiveImporter(Struct, frozen=True):
    """Implements ``ImageImporter``. ``run_as`` is whom to be while reading, when we are root."""

    run_as: tuple[int, int] | None = None

    async def unpack(
        self, spec: ImportSpec, folders: BuildFolders, progress: ProgressCallback
    ) -> ImportedImage:
        """See ``ImageImporter``."""
        rootfs.check_size(spec.size_bytes)
        for program, package in PROGRAMS.items():
            find_program(program, package)
        work = folders.scratch / "work"
        with explained(f"make the folder {work}"):
            work.mkdir(mode=0o700, exist_ok=True)
            if self.run_as is not None:
                os.chown(work, *self.run_as)
        mark = workspace.mark(folders.scratch)
        with confined.opened(spec.archive) as archive:
            reader = Confined(archive, work, folders.log, mark, self.run_as)
            imported = await _Import(spec, folders.target, progress, reader).run()
        await in_thread(lambda _: remove_tree(folders.scratch))
        return imported

    def brings_kernel(self, archive: Path) -> bool:
        """See ``ImageImporter``."""
        return own_archive.is_ours(archive)


class _Import(Struct, frozen=True):
    spec: ImportSpec
    target: Path
    progress: ProgressCallback
    reader: Confined

    @property
    def image(self) -> Path:
        return self.target / "rootfs.ext4"

    async def run(self) -> ImportedImage:
        order: dict[str, object] = {"architecture": _ARCHITECTURE}
        read = await self._read(order)
        own = read.get("own")
        size = int(own["size_bytes"]) if own else self.spec.size_bytes
        self.progress(FILL, None, "making the file system")
        with explained(f"make {self.image}"), self.image.open("wb") as file:
            file.truncate(size)
        if own is None:
            await run(format_command(self.image, _uuid(str(read["identity"]), size), size))
        parts = await self._parts() if own is None else {"modules": "", "python": ""}
        with explained(f"open {self.image}"), self.image.open("r+b") as file:
            told = self._told(FILL)
            await self.reader.call("write", {**order, **parts}, told, image=file.fileno())
        await self._check()
        source = self.spec.archive.name
        if own is None:
            return ImportedImage(
                size,
                origin=f"imported from {source}",
                carries_agent=bool(parts["python"]),
                container=read["config"],
            )
        await self._boot_files(own["files"])
        return ImportedImage(
            size,
            suite=own.get("suite", ""),
            origin=own.get("origin", "") or f"imported from {source}",
            docker=own["docker"],
            own_boot=own["own_boot"],
            carries_agent=own["carries_agent"],
            exported_sha256=own.get("rootfs_sha256", ""),
        )

    async def _read(self, order: Mapping[str, object]) -> dict[str, Any]:
        while True:
            read = await self.reader.call("read", order, self._told(READ))
            for source, target, limit in read.get("zstd", ()):
                self.progress(READ, None, "unpacking with zstd")
                await self.reader.unzstd(source, target, limit)
            if not read.get("again"):
                return read

    async def _parts(self) -> dict[str, str]:
        """What a foreign image lacks: folders in the work folder."""
        if self.spec.base is None:
            return {"modules": "", "python": ""}
        self.progress(FILL, None, "taking Python and kernel modules from the default image")
        rootfs_of_base = self.spec.base / "rootfs.ext4"
        parts = GuestParts(rootfs_of_base, self.reader.work, self.reader.run_as)
        version = self.spec.modules
        modules = await parts.modules(version) if version else ""
        return {"modules": modules, "python": await parts.python()}

    async def _boot_files(self, names: Sequence[str]) -> None:
        for name in names:
            source, target = self.reader.work / name, self.target / name
            with explained(f"copy {source}"):
                await in_thread(functools.partial(copy_sparse, source, target))

    async def _check(self) -> None:
        self.progress(VERIFY, None, "checking the file system")
        with explained(f"open {self.image}"), self.image.open("rb") as file:
            self.image.chmod(0o444)
            try:
                await run(check_command(file.fileno(), self.reader.run_as))
            except CommandFailed as error:
                cause = f"its file system is damaged: {error.cause}"
                raise confined.refusal(self.spec.archive, cause) from error

    def _told(self, phase: str) -> confined.Told:
        return lambda fraction, text: self.progress(phase, fraction, text)


def format_command(image: Path, identifier: str, size: int) -> Command:
    """An empty file system in ``image``, a file of holes, with the inodes of ``size`` bytes."""
    inodes = max(size // 16384, 65536)
    return rootfs.mke2fs(image, "-N", str(inodes), filesystem=identifier, hash_seed=identifier)


def check_command(descriptor: int, run_as: tuple[int, int] | None) -> Command:
    """Look for faults in an open file system of anybody's, without changing anything."""
    program = str(find_program("e2fsck", "e2fsprogs"))
    return Command(
        (*dropping(run_as), program, "-f", "-n", f"/proc/self/fd/{descriptor}"),
        timeout=_TIMEOUT,
        package="util-linux",
        descriptors=(descriptor,),
    )


def _uuid(identity: str, size: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{size}\n{identity}"))
