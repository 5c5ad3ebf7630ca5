"""The info files: ``vm.json`` and ``image.json`` beside the disks, true at all times.

They are written whole and atomically when an operation ends, and within one before a step that
may take long; other changes of the row that they mirror write them at once. They are what a lost
database is rebuilt from.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from banger.host import files
from banger.model.image import Image
from banger.model.vm import VM
from banger.paths import Paths
from banger.service.context import Context


def write_vm(context: Context, vm: VM) -> None:
    """Write ``vm.json``: our metadata under ``meta``, what the VMM really runs under ``config``.

    Nothing runs: ``config`` is empty. Nothing is written for a VM whose folder does not exist
    (being made or deleted).
    """
    paths = context.paths
    if not paths.vm(vm.id).is_dir():
        return
    vmm = context.drivers.vmms.get(vm.spec.vmm)
    config = vmm.configuration(vm.machine) if vmm is not None and vm.machine is not None else {}
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
