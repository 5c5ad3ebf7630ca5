"""Checks that there is room for VMs: memory, disk, folders and socket paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from banger.errors import InvalidInput
from banger.host import files, memory
from banger.host.finding import Check, Status
from banger.paths import Paths

_MIB = 1024 * 1024
#: The smallest VM that boots Debian, and the default one with QEMU around it, in MiB.
LEAST_MEMORY_MIB = 256
COMFORTABLE_MEMORY_MIB = 1280
#: What building the default image takes with its packages kept, in bytes.
BUILD_BYTES = 3 * 1024 * _MIB


def room_checks(paths: Paths, min_free_bytes: int, *, have_image: bool) -> Iterator[Check]:
    """All checks of room."""
    yield memory_check(memory.available_mib())
    free = files.free_bytes(paths.state)
    yield disk_check(paths.state, free, min_free_bytes, have_image=have_image)
    yield _folders(paths)
    yield _sockets(paths)


def memory_check(available_mib: int) -> Check:
    """Whether the default VM, or at least a small one, fits."""
    name, purpose, found = "memory", "each VM takes what it was given", f"{available_mib} MiB free"
    if available_mib < LEAST_MEMORY_MIB:
        status, mend = Status.FAIL, "end some programs"
    elif available_mib < COMFORTABLE_MEMORY_MIB:
        status, mend = Status.WARN, "create VMs with --memory 256M, or end some programs"
    else:
        status, mend = Status.OK, ""
    return Check(name, purpose, status, found, mend, "every VM")


def disk_check(folder: Path, free: int, min_free_bytes: int, *, have_image: bool) -> Check:
    """Whether VMs, and without an image its build, find space."""
    name, purpose = "disk space", "images and disks of VMs"
    found = f"{free // _MIB} MiB free below {folder}"
    mend = f"free disk space, or move the folder: XDG_STATE_HOME (now {folder.parent})"
    if free < min_free_bytes:
        status = Status.FAIL
    elif not have_image and free < min_free_bytes + BUILD_BYTES:
        status = Status.WARN
    else:
        status, mend = Status.OK, ""
    return Check(name, purpose, status, found, mend, "every VM")


def _folders(paths: Paths) -> Check:
    name, purpose = "folders", "hold images, VMs, sockets and caches"
    for folder in (paths.state, paths.cache, paths.runtime):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            found, mend = f"{existing} cannot be written to", f"ls -ld {existing}"
            return Check(name, purpose, Status.FAIL, found, mend, "every VM")
    return Check(name, purpose, Status.OK, f"{paths.state}, {paths.runtime}", "", "every VM")


def _sockets(paths: Paths) -> Check:
    name, purpose = "socket paths", "lead to the daemon and to the VMs"
    some_id = "0" * 12
    longest: list[Callable[[], Path]] = [
        lambda: paths.socket,
        lambda: paths.monitor_socket(some_id),
        lambda: paths.console_socket(some_id),
    ]
    try:
        for path in longest:
            path()
    except InvalidInput as error:
        return Check(name, purpose, Status.FAIL, error.cause, error.resolution, "every VM")
    return Check(name, purpose, Status.OK, "short enough", "", "every VM")
