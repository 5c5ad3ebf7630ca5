"""How much memory a new VM may take."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from banger.privileged import kernel_files

_CGROUPS = Path("/sys/fs/cgroup")


def parse_available_mib(meminfo: str) -> int:
    """``MemAvailable`` of ``/proc/meminfo`` in MiB; 0 if the line is missing."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def available_mib() -> int:
    """MiB that can be taken without swapping, within the limits of our control groups."""
    available = parse_available_mib(kernel_files.value("/proc/meminfo"))
    return min([available, *(room // (1024 * 1024) for room in _cgroup_rooms())])


def _cgroup_rooms() -> list[int]:
    """Bytes left under each limit above us (control groups version 2)."""
    rooms: list[int] = []
    with contextlib.suppress(OSError):
        found = re.search(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
        own = _CGROUPS / found[1] if found else _CGROUPS
        for group in [own, *own.parents]:
            if not group.is_relative_to(_CGROUPS):
                break
            # The topmost group and groups without the controller have no such files; a limit
            # that is not set reads "max".
            with contextlib.suppress(OSError, ValueError):
                limit = int(kernel_files.value(group / "memory.max"))
                rooms.append(max(0, limit - int(kernel_files.value(group / "memory.current"))))
    return rooms
