"""The writable layer of a VM as one file: what the file-based storage drivers share."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from banger.drivers.storage.base import RootfsSpec
from banger.errors import CorruptState, HostNotReady
from banger.host import files
from banger.host.threads import in_thread
from banger.model.operation import Presence
from banger.model.storage import DiskUsage, Drive

_MIB = 1024 * 1024
#: Drives are whole numbers of these, as the file system in them is (ext4's usual block).
_BLOCK = 4096


class LayerFile(abc.ABC):
    """A ``RootfsStore`` whose layer is the file ``file_name`` in the VM's own folder.

    ``min_free_bytes`` must stay free on the host's file system after a layer is made.
    """

    name: str
    file_name: str
    format: str
    #: The VMM has opened the file by its size.
    grows_live = False
    breaks_when_full = False

    def __init__(self, min_free_bytes: int) -> None:
        self._min_free_bytes = min_free_bytes

    def path(self, spec: RootfsSpec) -> Path:
        """Where the layer lies."""
        return spec.directory / self.file_name

    def probe(self, spec: RootfsSpec) -> Presence:
        """``FOREIGN`` if something that is no regular file has the layer's name."""
        return presence_of(self.path(spec))

    async def prepare(self, spec: RootfsSpec) -> None:
        if self.probe(spec) is Presence.OURS:
            return
        require_space(spec.directory, self._min_free_bytes + self._cost(spec))
        with replaced(self.path(spec)) as temporary:
            await self._make(spec, temporary)
            await self._enlarge(temporary, self._size(spec))

    async def activate(self, spec: RootfsSpec) -> Drive:
        self._require(spec)
        return self._drive(spec)

    async def grow(self, spec: RootfsSpec) -> None:
        self._require(spec)
        require_space(spec.directory, self._min_free_bytes)
        await self._enlarge(self.path(spec), self._size(spec))

    async def copy(self, source: RootfsSpec, target: RootfsSpec) -> None:
        self._require(source)
        if self.probe(target) is not Presence.OURS:
            await copy_file(self.path(source), self.path(target), self._min_free_bytes)

    async def flatten(self, spec: RootfsSpec, target: Path) -> None:
        self._require(spec)
        await copy_file(self.path(spec), target, self._min_free_bytes)

    async def deactivate(self, spec: RootfsSpec) -> None:  # noqa: ARG002 - the protocol's
        return  # a file needs no release

    async def remove(self, spec: RootfsSpec) -> None:
        for path in (temporary_of(self.path(spec)), self.path(spec)):
            await asyncio.to_thread(files.remove_tree, path)

    def usage(self, spec: RootfsSpec) -> DiskUsage:
        return DiskUsage(files.allocated_bytes(self.path(spec)), self._limit(spec))

    def _require(self, spec: RootfsSpec) -> None:
        if self.probe(spec) is not Presence.OURS:
            raise CorruptState(
                f"the root disk of VM {spec.vm_id} is gone",
                cause=f"{self.path(spec)} does not exist or is not a file",
                resolution=f"banger vm rebuild {spec.vm_id}, for a new one from its image",
            )

    async def _enlarge(self, path: Path, size_bytes: int) -> None:
        """Make the drive in the file ``path`` at least that large."""
        with files.explained(f"enlarge {path}"):
            if path.stat().st_size < size_bytes:
                os.truncate(path, size_bytes)

    def _drive(self, spec: RootfsSpec) -> Drive:
        return Drive(id="root", path=self.path(spec), format=self.format)

    def _cost(self, spec: RootfsSpec) -> int:  # noqa: ARG002 - copying drivers need it
        """Bytes that making the layer takes at once."""
        return _MIB

    def _size(self, spec: RootfsSpec) -> int:
        """The least size of the file, in bytes and whole blocks."""
        return -(-spec.overlay_bytes // _BLOCK) * _BLOCK

    def _limit(self, spec: RootfsSpec) -> int:
        """The most bytes that the layer may come to occupy."""
        return spec.overlay_bytes

    @abc.abstractmethod
    async def _make(self, spec: RootfsSpec, target: Path) -> None:
        """Make the layer as the file ``target``, which may hold remains of an earlier try."""


async def copy_file(source: Path, target: Path, min_free_bytes: int) -> None:
    """Copy a drive to a file of its own: by sharing blocks, else what is not a hole.

    Raises ``HostNotReady`` unless ``min_free_bytes`` stay free.
    """

    def share(stopped: object) -> bool:  # noqa: ARG001 - it takes no time worth stopping
        return files.clone_file(source, temporary)

    with replaced(target) as temporary:
        if await in_thread(share):
            return
        require_space(target.parent, min_free_bytes + files.allocated_bytes(source))
        await in_thread(lambda stopped: files.copy_sparse(source, temporary, stopped))


def presence_of(path: Path) -> Presence:
    """Whether a regular file, nothing, or something else stands at ``path``."""
    if path.is_file() and not path.is_symlink():
        return Presence.OURS
    return Presence.FOREIGN if os.path.lexists(path) else Presence.ABSENT


def require_space(folder: Path, need_bytes: int) -> None:
    """Raise ``HostNotReady`` unless ``need_bytes`` are free where ``folder`` lies."""
    free = files.free_bytes(folder)
    if free < need_bytes:
        raise HostNotReady(
            f"there is not enough disk space below {folder}",
            cause=f"{need_bytes // _MIB} MiB are needed and {free // _MIB} MiB are free",
            resolution="free disk space, or delete VMs and images that are no longer used",
        )


def temporary_of(path: Path) -> Path:
    """The one name under which ``path`` is being made, so that remains are found again."""
    return path.with_name(f".{path.name}.new")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes ``path``, mode 0600, if all goes well."""
    temporary = temporary_of(path)
    try:
        with files.explained(f"make {path}"):
            yield temporary
            temporary.chmod(0o600)
            temporary.replace(path)
            files.sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
