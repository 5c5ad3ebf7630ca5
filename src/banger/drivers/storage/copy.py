"""Storage that works everywhere: a sparse copy of the image's root file system per VM."""

from __future__ import annotations

from pathlib import Path

from banger.drivers.storage.base import RootfsSpec
from banger.drivers.storage.layer_file import LayerFile
from banger.host import files
from banger.host.threads import in_thread


class Copy(LayerFile):
    """A raw layer of its own. Holes of the image stay holes."""

    name = "copy"
    file_name = "root.raw"
    format = "raw"

    def _cost(self, spec: RootfsSpec) -> int:
        return files.allocated_bytes(spec.base)

    def _limit(self, spec: RootfsSpec) -> int:
        # The copy holds the whole root file system, so it can grow to that one's size.
        path = self.path(spec)
        return path.stat().st_size if path.exists() else spec.overlay_bytes

    async def _make(self, spec: RootfsSpec, target: Path) -> None:
        await in_thread(lambda stopped: files.copy_sparse(spec.base, target, stopped))
