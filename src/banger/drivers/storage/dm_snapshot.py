"""Storage by the kernel's device-mapper: a block device that is the image with a VM's changes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from banger.drivers.storage import exception_store
from banger.drivers.storage.base import RootfsSpec
from banger.drivers.storage.layer_file import LayerFile, replaced, require_space
from banger.errors import CorruptState, InternalError
from banger.host import files
from banger.host.threads import in_thread
from banger.model.storage import DiskUsage, Drive
from banger.naming import snapshot_uuid
from banger.privileged.calls import Call, SnapshotAttach, SnapshotDetach, TapFacts

#: Bytes that the file has beyond ``overlay_bytes``, sparse and never spoken of. Whoever watches
#: the layer looks ten times a second at most, and a guest writes at up to 2 GiB/s meanwhile: the
#: VM is paused at its limit, and what was under way still finds room.
RESERVE = 1024**3
_SYS_BLOCK, _DEV = Path("/sys/block"), Path("/dev")


class RootSide(Protocol):
    """What carries calls out (``host.privilege``)."""

    async def call(self, batch: Sequence[Call]) -> list[TapFacts]:
        """One result each; raises banger's errors."""
        ...


class DmSnapshot(LayerFile):
    """A layer that holds the chunks that the VM has changed, behind a raw device for any VMM.

    All VMs of an image share its pages in the host's memory. The device keeps the size of the
    image's file system; ``overlay_bytes`` is how much of it may differ. A layer that has no room
    for a write is given up by the kernel, so somebody must look at ``usage`` in time; ``RESERVE``
    is what being late may cost.
    """

    name = "dm_snapshot"
    file_name = "root.cow"
    format = "raw"
    grows_live = True
    breaks_when_full = True

    def __init__(
        self,
        min_free_bytes: int,
        privilege: RootSide,
        uid: int,
        sys_block: Path = _SYS_BLOCK,
        dev: Path = _DEV,
    ) -> None:
        super().__init__(min_free_bytes)
        self._dev = dev
        self._privilege = privilege
        self._uid = uid
        self._sys_block = sys_block

    async def activate(self, spec: RootfsSpec) -> Drive:
        self._check(spec)
        attach = SnapshotAttach(
            spec.vm_id,
            str(spec.base.resolve()),
            str(spec.directory.resolve() / self.file_name),
        )
        found = (await self._privilege.call([attach]))[0]
        if found.index == 0:
            raise InternalError(
                f"the root drive of VM {spec.vm_id} is not there",
                cause="the root side has made it and does not find it",
                resolution="banger doctor",
            )
        return Drive(id="root", path=self._dev / f"dm-{os.minor(found.index)}", format=self.format)

    async def deactivate(self, spec: RootfsSpec) -> None:
        # Looked up first, so that a VM which never ran is deleted without root, too.
        if self._is_active(spec):
            await self._privilege.call([SnapshotDetach(spec.vm_id)])

    async def grow(self, spec: RootfsSpec) -> None:
        await super().grow(spec)
        if self._is_active(spec):
            await self.activate(spec)  # it takes the layer up in its new size

    async def flatten(self, spec: RootfsSpec, target: Path) -> None:
        self._check(spec)
        cost = files.allocated_bytes(spec.base) + files.allocated_bytes(self.path(spec))
        require_space(target.parent, self._min_free_bytes + cost)
        with replaced(target) as temporary:
            await in_thread(lambda stopped: files.copy_sparse(spec.base, temporary, stopped))
            await in_thread(lambda _: exception_store.write_over(self.path(spec), temporary))

    async def remove(self, spec: RootfsSpec) -> None:
        await self.deactivate(spec)
        await super().remove(spec)

    def usage(self, spec: RootfsSpec) -> DiskUsage:
        path = self.path(spec)
        limit = path.stat().st_size - RESERVE if path.is_file() else spec.overlay_bytes
        return DiskUsage(exception_store.used_bytes(path), limit)

    def _check(self, spec: RootfsSpec) -> None:
        self._require(spec)
        path = self.path(spec)
        with files.explained(f"read {path}"):
            wrong = exception_store.defect(path)
        if not wrong and not spec.base.is_file():
            wrong = f"the image's {spec.base} is missing"
        if wrong:
            raise CorruptState(
                f"the root disk of VM {spec.vm_id} cannot be used",
                cause=wrong,
                resolution=f"banger vm rebuild {spec.vm_id}, for a new one from its image",
            )

    def _require(self, spec: RootfsSpec) -> None:
        try:
            super()._require(spec)
        except CorruptState as gone:
            lost = "all that the VM has written on it is lost, the image is not"
            raise CorruptState(
                gone.brief, cause=f"{gone.cause}: {lost}", resolution=gone.resolution
            ) from gone

    def _is_active(self, spec: RootfsSpec) -> bool:
        wanted = snapshot_uuid(self._uid, spec.vm_id)
        for path in self._sys_block.glob("dm-*/dm/uuid"):
            with contextlib.suppress(OSError):
                if path.read_text().strip() == wanted:
                    return True
        return False

    def _size(self, spec: RootfsSpec) -> int:
        return super()._size(spec) + RESERVE

    async def _make(self, spec: RootfsSpec, target: Path) -> None:
        if not spec.base.is_file():
            raise CorruptState(
                f"VM {spec.vm_id} can get no root disk",
                cause=f"the image's {spec.base} is missing",
                resolution="banger image build",
            )

        def make(stopped: object) -> None:  # noqa: ARG001 - it takes no time worth stopping
            exception_store.make_empty(target, self._size(spec))

        await in_thread(make)
