"""Storage on a file system that shares blocks between files (btrfs, xfs): a clone per VM."""

from __future__ import annotations

from pathlib import Path

from banger.drivers.storage.base import RootfsSpec
from banger.drivers.storage.layer_file import LayerFile
from banger.errors import HostNotReady
from banger.host import files
from banger.host.extents import unshared_bytes
from banger.host.threads import in_thread
from banger.model.storage import DiskUsage


class Reflink(LayerFile):
    """A raw layer that shares with the image every block that the VM has not written."""

    name = "reflink"
    file_name = "root.raw"
    format = "raw"

    def usage(self, spec: RootfsSpec) -> DiskUsage:
        return DiskUsage(unshared_bytes(self.path(spec)), self._limit(spec))

    async def _make(self, spec: RootfsSpec, target: Path) -> None:
        def clone(stopped: object) -> None:  # noqa: ARG001 - it takes no time worth stopping
            if not files.clone_file(spec.base, target):
                raise HostNotReady(
                    f"the file system of {spec.directory} cannot clone {spec.base}",
                    cause="it shares no blocks between files, or the two are on different ones",
                    resolution="create the VM with --storage qcow2 or --storage copy",
                )

        await in_thread(clone)
