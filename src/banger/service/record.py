"""The info files: ``vm.json`` and ``image.json`` beside the disks, true at all times.

They are written whole and atomically after every change of the row they mirror, and they
are what a lost database is rebuilt from.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from banger.host import files, process
from banger.model.image import Image
from banger.model.vm import VM
from banger.paths import Paths


def write_vm(paths: Paths, vm: VM) -> None:
    """Write ``vm.json``: our metadata under ``meta``, what the VMM really runs under ``config``.

    Nothing is written for a VM whose folder does not exist (being made or deleted).
    """
    if not paths.vm(vm.id).is_dir():
        return
    config = {"argv": process.argv_of(vm.machine.pid)} if vm.machine else {}
    document = {"meta": msgspec.to_builtins(vm), "config": config}
    files.write_atomic(paths.vm_record(vm.id), json.dumps(document, indent=2) + "\n")


def write_image(paths: Paths, image: Image) -> None:
    """Write ``image.json`` into the image's folder."""
    document = {"meta": msgspec.to_builtins(image)}
    files.write_atomic(paths.image_record(image.id), json.dumps(document, indent=2) + "\n")


def read_vm(path: Path) -> VM | None:
    """The VM of an info file, ``None`` if it cannot be read as one."""
    try:
        return msgspec.convert(json.loads(path.read_bytes())["meta"], VM)
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError):
        return None


def read_image(path: Path) -> Image | None:
    """The image of an info file, ``None`` if it cannot be read as one."""
    try:
        return msgspec.convert(json.loads(path.read_bytes())["meta"], Image)
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError):
        return None
