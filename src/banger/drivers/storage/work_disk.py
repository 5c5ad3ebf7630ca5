"""The work disk: a second drive of one VM that outlives its root layer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from banger.drivers.storage.layer_file import (
    copy_file,
    presence_of,
    replaced,
    require_space,
    temporary_of,
)
from banger.errors import CorruptState, InvalidInput
from banger.host import files
from banger.host.command import Command, run
from banger.model.operation import Presence
from banger.model.storage import DiskUsage, Drive

#: What an empty ext4 file system takes at once, in bytes; measured: 4 MiB of 8 GiB, 29 of 2 TiB.
_FORMAT_COST = 32 * 1024 * 1024


def format_command(path: Path) -> Command:
    """``mke2fs`` that fills a sparse file without writing its tables (the guest does, lazily)."""
    options = "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0,nodiscard"
    return Command(
        ("mke2fs", "-F", "-q", "-t", "ext4", "-L", "work", "-m", "0", "-E", options, str(path)),
        timeout=120,
        package="e2fsprogs",
    )


def check_command(path: Path) -> Command:
    """``e2fsck`` as ``resize2fs`` demands it; status 1 means "errors corrected"."""
    return Command(
        ("e2fsck", "-f", "-p", str(path)), timeout=600, package="e2fsprogs", ok_statuses=(0, 1)
    )


def resize_command(path: Path) -> Command:
    """``resize2fs`` that lets the file system fill its file."""
    return Command(("resize2fs", str(path)), timeout=600, package="e2fsprogs")


class WorkDisks:
    """Makes, grows and removes ``work.raw`` in a VM's folder. Every method is idempotent."""

    def __init__(self, min_free_bytes: int) -> None:
        self._min_free_bytes = min_free_bytes

    def path(self, directory: Path) -> Path:
        """Where the disk lies."""
        return directory / "work.raw"

    def probe(self, directory: Path) -> Presence:
        """Whether the disk exists."""
        return presence_of(self.path(directory))

    async def prepare(self, directory: Path, size_bytes: int) -> None:
        """Make the disk with an empty ext4 file system labelled ``work``, sparse.

        Raises ``HostNotReady`` when space is short. An existing disk is kept as it is.
        """
        if self.probe(directory) is Presence.OURS:
            return
        require_space(directory, self._min_free_bytes + _FORMAT_COST)
        with replaced(self.path(directory)) as temporary:
            temporary.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(temporary, flags, 0o600))
            os.truncate(temporary, size_bytes)
            await run(format_command(temporary))

    async def grow(self, directory: Path, size_bytes: int) -> None:
        """Enlarge disk and file system of a stopped VM; safe to repeat after a crash.

        Raises ``InvalidInput`` for a smaller size, ``CorruptState`` if the disk is gone.
        """
        path = self.drive(directory).path
        present = path.stat().st_size
        if size_bytes < present:
            raise InvalidInput(
                "a work disk cannot become smaller",
                cause=f"it has {present} bytes, and {size_bytes} were asked for",
                resolution="choose a size above the present one",
            )
        require_space(directory, self._min_free_bytes)
        await run(check_command(path))
        with files.explained(f"enlarge {path}"):
            os.truncate(path, size_bytes)
        await run(resize_command(path))

    async def copy(self, source: Path, target: Path) -> None:
        """Make the disk in the folder ``target`` hold what that in ``source`` holds."""
        path = self.drive(source).path
        if self.probe(target) is not Presence.OURS:
            await copy_file(path, self.path(target), self._min_free_bytes)

    def drive(self, directory: Path) -> Drive:
        """The disk as a VMM gets it. Raises ``CorruptState`` if it is gone."""
        if self.probe(directory) is not Presence.OURS:
            raise CorruptState(
                f"the work disk {self.path(directory)} is gone",
                cause="it does not exist or is not a file",
                resolution="restore the file, or delete the VM and create it again",
            )
        return Drive(id="work", path=self.path(directory), format="raw")

    async def remove(self, directory: Path) -> None:
        """Delete the disk."""
        for path in (temporary_of(self.path(directory)), self.path(directory)):
            await asyncio.to_thread(files.remove_tree, path)

    def usage(self, directory: Path) -> DiskUsage:
        """Bytes in use and the disk's size; both zero when there is none."""
        path = self.path(directory)
        if self.probe(directory) is not Presence.OURS:
            return DiskUsage(0, 0)
        return DiskUsage(files.allocated_bytes(path), path.stat().st_size)
