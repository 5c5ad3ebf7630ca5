"""The root file system store: one writable copy-on-write layer per VM over a shared image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from banger.model.operation import Presence
from banger.model.storage import DiskUsage, Drive


@dataclass(frozen=True, slots=True)
class RootfsSpec:
    """``base`` is the image's rootfs (never written), ``directory`` the VM's own folder."""

    vm_id: str
    base: Path
    directory: Path
    overlay_bytes: int


class RootfsStore(Protocol):
    """Makes the root drive of a VM. Every method is idempotent and accepts "already so"."""

    name: str

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

    def drive(self, directory: Path) -> Drive:
        """The drive for the VMM. Raises ``CorruptState`` if the file is gone."""
        ...

    async def remove(self, directory: Path) -> None:
        """Delete the disk."""
        ...
