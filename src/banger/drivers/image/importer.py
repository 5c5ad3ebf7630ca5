"""Imports archives: a confined process checks and unpacks them into a file system of mke2fs's."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banger.drivers.image import confined, rootfs, workspace
from banger.drivers.image.base import BuildFolders, ImportedImage, ImportSpec, ProgressCallback
from banger.drivers.image.confined import Archive, Confined
from banger.drivers.image.digest import content_sha256
from banger.drivers.image.guest_parts import GuestParts
from banger.drivers.image.overlay import EPOCH
from banger.errors import BangerError, CommandFailed, InvalidInput
from banger.host.command import Command, find_program, run
from banger.host.ext_files import dropping
from banger.host.files import allocated_bytes, copy_sparse, explained, free_bytes, sync_folder
from banger.host.threads import in_thread

#: Program -> Debian package.
PROGRAMS = {"mke2fs": "e2fsprogs", "e2fsck": "e2fsprogs", "debugfs": "e2fsprogs"}
#: The architecture as image configurations name it.
_ARCHITECTURE = "amd64"
_NAMESPACE = uuid.UUID("0d6c9a51-1b0e-5f0e-8f5e-1c7a3d2b6e55")
_TIMEOUT = 600.0
READ, FILL, VERIFY = "reading", "filesystem", "check"


@dataclass(frozen=True, slots=True)
class ArchiveImporter:
    """Implements ``ImageImporter``. ``run_as`` is whom to be while reading, when we are root."""

    run_as: tuple[int, int] | None = None

    async def import_image(
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
        with confined.opened(spec.archive) as archive:
            reader = Confined(
                archive, work, folders.log, workspace.mark(folders.scratch), self.run_as
            )
            return await _Import(spec, folders, progress, archive, reader, self.run_as).run()


@dataclass(frozen=True, slots=True)
class _Import:
    spec: ImportSpec
    folders: BuildFolders
    progress: ProgressCallback
    archive: Archive
    reader: Confined
    run_as: tuple[int, int] | None

    @property
    def image(self) -> Path:
        return self.folders.target / "rootfs.ext4"

    async def run(self) -> ImportedImage:
        order = {"architecture": _ARCHITECTURE}
        read = await self._read(order)
        own = read.get("own")
        size = own["size_bytes"] if own else self.spec.size_bytes
        self.progress(FILL, None, "making the file system")
        with explained(f"make {self.image}"), self.image.open("xb") as file:
            file.truncate(size)
        parts: dict[str, str] = {"modules": "", "python": ""}
        if own is None:
            await run(format_command(self.image, _uuid(str(read["identity"]), size), size))
            parts = await self._parts()
        with explained(f"open {self.image}"), self.image.open("r+b") as file:
            told = self._told(FILL)
            await self.reader.call("write", {**order, **parts}, told, image=file.fileno())
        await self._boot_files(own)
        digest = await self._check()
        if own and own.get("rootfs_sha256") != digest:
            raise confined.refusal(self.spec.archive, "its root file system is not what was exported")
        return ImportedImage(
            size_bytes=size,
            allocated_bytes=allocated_bytes(self.image),
            rootfs_sha256=digest,
            kernel_version=own.get("kernel_version", "") if own else self.spec.kernel_version,
            suite=own.get("suite", "") if own else "",
            origin=own.get("origin", "") if own else f"imported from {self.spec.archive.name}",
            own_boot=bool(own) and "initrd.cpio" not in own["files"],
            config=read.get("config", {}),
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
        self.progress(FILL, None, "taking kernel modules and Python from the default image")
        parts = GuestParts(self.spec.base / "rootfs.ext4", self.reader.work, self.run_as)
        version = self.spec.kernel_version
        return {
            "modules": await parts.modules(version) if version else "",
            "python": await parts.python(),
        }

    async def _boot_files(self, own: Mapping[str, Any] | None) -> None:
        folder = self.reader.work if own else self.spec.base
        for name in own["files"] if own else ("vmlinux", "initrd.cpio"):
            target = self.folders.target / name
            with explained(f"copy {folder / name}"):
                await in_thread(lambda stopped, n=name, t=target: copy_sparse(folder / n, t, stopped))
                target.chmod(0o444)

    async def _check(self) -> str:
        self.progress(VERIFY, None, "checking the file system")
        with explained(f"open {self.image}"), self.image.open("rb") as file:
            self.image.chmod(0o444)
            try:
                await run(check_command(file.fileno(), self.run_as))
            except CommandFailed as error:
                raise confined.refusal(
                    self.spec.archive, f"its file system is damaged: {error.cause}"
                ) from error
            self.progress(VERIFY, None, "computing the digest")
            digest = await in_thread(lambda _: content_sha256(self.image))
            await in_thread(lambda _: os.fsync(file.fileno()))
        await in_thread(lambda _: sync_folder(self.folders.target))
        return digest

    def _told(self, phase: str) -> confined.Told:
        return lambda fraction, text: self.progress(phase, fraction, text)


def format_command(image: Path, identifier: str, size: int) -> Command:
    """An empty file system in ``image``, a file of holes, always the same for the same values.

    See ``rootfs.format_command`` for why it is made so.
    """
    inodes = max(size // 16384, 65536)
    return Command(
        (
            "mke2fs",
            "-q",
            "-F",
            *("-t", "ext4"),
            *("-L", rootfs.LABEL),
            *("-U", identifier),
            *("-m", "0"),
            *("-b", str(rootfs.BLOCK_BYTES)),
            *("-I", "256"),
            *("-N", str(inodes)),
            *("-O", rootfs.FEATURES),
            *("-E", f"hash_seed={identifier},lazy_journal_init=1,root_owner=0:0"),
            str(image),
        ),
        env={"E2FSPROGS_FAKE_TIME": str(EPOCH)},
        timeout=_TIMEOUT,
        package="e2fsprogs",
    )


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
