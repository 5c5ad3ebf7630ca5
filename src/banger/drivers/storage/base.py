"""The root file system store: one writable copy-on-write layer per VM over a shared image."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from msgspec import Struct

from banger.model.operation import Presence
from banger.model.storage import DiskUsage, Drive


class RootfsSpec(Struct, frozen=True):
    """``base`` is the image's rootfs (never written), ``directory`` the VM's own folder."""

    vm_id: str
    base: Path
    directory: Path
    overlay_bytes: int


class RootfsStore(Protocol):
    """Makes the root drive of a VM. Every method is idempotent and accepts "already so"."""

    name: str
    #: Whether ``grow`` may be called while the drive is active.
    grows_live: bool
    #: Whether a layer without room for a write loses all that it holds, so that the VM must be
    #: paused before.
    breaks_when_full: bool

    def probe(self, spec: RootfsSpec) -> Presence:
        """Whether the writable layer exists."""
        ...

    async def prepare(self, spec: RootfsSpec) -> None:
        """Make the writable layer, sparse. Raises ``HostNotReady`` when space is short."""
        ...

    async def activate(self, spec: RootfsSpec) -> Drive:
        """Make the drive usable by a VMM. Raises ``CorruptState`` if the layer is gone."""
        ...

    async def deactivate(self, spec: RootfsSpec) -> None:
        """Release what ``activate`` took; the layer stays."""
        ...

    async def grow(self, spec: RootfsSpec) -> None:
        """Let the layer take up to ``spec.overlay_bytes``; one that may already is left alone.

        Never shrinks anything, and is repeated after a crash. A layer that is a whole drive (a
        file over or instead of the base) becomes a larger drive, and the guest lets its root file
        system fill that at its next boot; a layer that only collects what differs from the base
        holds more of it, and the drive keeps its size. Called on an active layer only where
        ``grows_live``. Raises ``CorruptState`` if the layer is gone, ``HostNotReady`` when space
        is short.
        """
        ...

    async def copy(self, source: RootfsSpec, target: RootfsSpec) -> None:
        """Make the layer of ``target`` hold what that of ``source`` holds.

        Both have the same base; neither is active. What is copied is sparse, or shares blocks
        where the file system can, but never a file that either VM writes. An existing layer of
        ``target`` is kept; remains of a copy that was cut short are replaced. Raises
        ``CorruptState`` if the source is gone, ``HostNotReady`` when space is short.
        """
        ...

    async def flatten(self, spec: RootfsSpec, target: Path) -> None:
        """Write what the drive holds, base and layer together, as a raw sparse file.

        The layer is not active. An existing ``target`` is replaced. Raises ``CorruptState`` if
        the layer is gone or damaged, ``HostNotReady`` when space is short; then there is none.
        """
        ...

    async def remove(self, spec: RootfsSpec) -> None:
        """Delete the writable layer."""
        ...

    def usage(self, spec: RootfsSpec) -> DiskUsage:
        """Bytes in use and the limit; zero used when the layer is absent."""
        ...


class WorkDisk(Protocol):
    """Makes the optional second drive of a VM, which outlives its root file system."""

    def probe(self, directory: Path) -> Presence:
        """Whether the VM's folder holds a work disk."""
        ...

    async def prepare(self, directory: Path, size_bytes: int) -> None:
        """Make the sparse disk with an empty ext4 file system. An existing one is kept."""
        ...

    async def grow(self, directory: Path, size_bytes: int) -> None:
        """Enlarge the disk of a stopped VM with its file system; safe to repeat after a crash.

        Raises ``InvalidInput`` for a smaller size, ``CorruptState`` if the disk is gone.
        """
        ...

    async def copy(self, source: Path, target: Path) -> None:
        """Make the disk in the folder ``target`` hold what that in ``source`` holds.

        An existing disk in ``target`` is kept. Raises ``CorruptState`` if the source is gone,
        ``HostNotReady`` when space is short.
        """
        ...

    def drive(self, directory: Path) -> Drive:
        """The drive for the VMM. Raises ``CorruptState`` if the file is gone."""
        ...

    async def remove(self, directory: Path) -> None:
        """Delete the disk."""
        ...
