"""Checks that the host can hold what is asked for, before anything is made."""

from __future__ import annotations

from pathlib import Path

from banger.errors import HostNotReady
from banger.host import files, memory
from banger.model.vm import MIB
from banger.service.context import Context


def check_memory(name: str, wanted_mib: int, command: str = "banger run") -> None:
    """Raises ``HostNotReady`` when the host has less memory available than wanted.

    ``command`` takes ``--memory`` and would cure it.
    """
    available = memory.available_mib()
    if wanted_mib > available:
        raise HostNotReady(
            f"the host cannot hold {name}: {wanted_mib} MiB of memory wanted",
            cause=f"{available} MiB are available",
            resolution=f"{command} --memory {max(64, available // 2)}, or stop other VMs",
        )


def check_floor(context: Context) -> None:
    """Raises ``HostNotReady`` if less disk is free than the settings want to stay free."""
    check_disk(context.paths.state, context.settings.min_free_bytes)


def check_disk(folder: Path, wanted_bytes: int) -> None:
    """Raises ``HostNotReady`` when the folder's file system has less space than wanted."""
    free = files.free_bytes(folder)
    if free < wanted_bytes:
        raise HostNotReady(
            f"too little disk space in {folder}",
            cause=f"{free // MIB} MiB are free, {wanted_bytes // MIB} MiB are needed",
            resolution=f"df -h {folder}",
        )
