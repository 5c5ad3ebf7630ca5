"""Storage for QEMU alone: a qcow2 file over the image's root file system."""

from __future__ import annotations

import json
from pathlib import Path

from banger.drivers.storage.base import RootfsSpec
from banger.drivers.storage.layer_file import LayerFile, replaced, require_space
from banger.errors import CorruptState
from banger.host import files
from banger.host.command import Command, run
from banger.model.storage import Drive

#: Seconds for copying a whole drive.
_TIMEOUT = 3600.0
#: The first four bytes of every qcow2 file (QEMU's docs/interop/qcow2.txt).
MAGIC = b"QFI\xfb"


def create_command(base: Path, target: Path) -> Command:
    """``qemu-img`` for an empty layer of the size of the raw file ``base``."""
    return Command(
        ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(target)),
        package="qemu-utils",
    )


def resize_command(path: Path, size_bytes: int) -> Command:
    """``qemu-img`` that makes the drive in a qcow2 file larger."""
    return Command(
        ("qemu-img", "resize", "-q", "-f", "qcow2", str(path), str(size_bytes)),
        package="qemu-utils",
    )


def flatten_command(path: Path, base: Path, target: Path) -> Command:
    """``qemu-img`` that writes a layer and its base as one sparse raw file.

    The base is named here: what the layer's own header says of it is not asked.
    """
    drive = {
        "driver": "qcow2",
        "file": {"driver": "file", "filename": str(path)},
        "backing": {"driver": "raw", "file": {"driver": "file", "filename": str(base)}},
    }
    return Command(
        ("qemu-img", "convert", "-q", "-O", "raw", f"json:{json.dumps(drive)}", str(target)),
        timeout=_TIMEOUT,
        package="qemu-utils",
    )


def drive_bytes(path: Path) -> int:
    """The size of the drive in a qcow2 file (its header: 64 bits, big-endian, at offset 24)."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(32)[24:], "big")


class Qcow2(LayerFile):
    """A layer that holds only what the VM has written; nothing is copied."""

    name = "qcow2"
    file_name = "overlay.qcow2"
    format = "qcow2"

    async def activate(self, spec: RootfsSpec) -> Drive:
        drive = await super().activate(spec)
        with drive.path.open("rb") as file:
            whole = file.read(4) == MAGIC
        if not whole or not spec.base.is_file():
            wrong = f"{spec.base} is missing" if whole else f"{drive.path} is no qcow2 file"
            raise CorruptState(
                f"the root disk of VM {spec.vm_id} cannot be used",
                cause=wrong,
                resolution=f"banger vm rebuild {spec.vm_id}, for a new one from its image",
            )
        return drive

    async def flatten(self, spec: RootfsSpec, target: Path) -> None:
        drive = await self.activate(spec)
        cost = files.allocated_bytes(drive.path) + files.allocated_bytes(spec.base)
        require_space(target.parent, self._min_free_bytes + cost)
        with replaced(target) as temporary:
            await run(flatten_command(drive.path, spec.base, temporary))

    def _drive(self, spec: RootfsSpec) -> Drive:
        return Drive(id="root", path=self.path(spec), format=self.format, base=spec.base)

    async def _enlarge(self, path: Path, size_bytes: int) -> None:
        if drive_bytes(path) < size_bytes:
            await run(resize_command(path, size_bytes))

    async def _make(self, spec: RootfsSpec, target: Path) -> None:
        await run(create_command(spec.base, target))
