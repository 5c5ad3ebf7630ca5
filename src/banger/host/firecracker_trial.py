"""The command that boots one throw-away guest in Firecracker, without network, drives or API."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from banger.host.trial import BRIEF, in_memory

#: Beside the console; Firecracker's default line would hide that from a Linux.
_ARGUMENTS = f"console=ttyS0 reboot=k panic=-1 pci=off {BRIEF}"


@contextlib.contextmanager
def firecracker_argv(
    program: Path, kernel: Path, *, memory_mib: int = 128
) -> Iterator[tuple[str, ...]]:
    """Firecracker with the guest's console on standard output; it works within the block.

    ``kernel`` is an ELF file.
    """
    # Its own words go elsewhere: on the console they could fall into the guest's.
    with in_memory("banger-log", b"") as log:
        document = {
            "logger": {"log_path": str(log), "level": "Error"},
            "boot-source": {"kernel_image_path": str(kernel), "boot_args": _ARGUMENTS},
            "machine-config": {"vcpu_count": 1, "mem_size_mib": memory_mib},
            "drives": [],
        }
        with in_memory("banger-config", json.dumps(document).encode()) as config:
            yield (str(program), "--no-api", "--config-file", str(config))
