"""The control group of a jail: how much memory, CPU and how many processes it may have."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

#: Where cgroup v2 is mounted (systemd and every current container runtime).
ROOT = Path("/sys/fs/cgroup")
_WANTED = ("cpu", "memory", "pids")
#: What Firecracker needs beside the guest's memory, in bytes: its own has 5 MiB at most, and the
#: copies of programs and kernel in its jail count too, as do buffers of the kernel's.
OVERHEAD = 256 * 1024 * 1024
#: Threads beside those of the virtual CPUs: Firecracker has two, and some to spare for its I/O.
_THREADS = 30
#: The weight of one virtual CPU, and the most (cgroup-v2.rst: 100 is the default, of 10000).
_WEIGHT, _MOST_WEIGHT = 100, 10000
_REMOVE_SECONDS = 5.0


def obstacle(root: Path = ROOT) -> str:
    """Why no group can be made here; empty if one can be."""
    try:
        there = (root / "cgroup.controllers").read_text().split()
    except OSError:
        return "the host does not have cgroup v2 alone"
    missing = [name for name in _WANTED if name not in there]
    if missing:
        return f"cgroup v2 lacks the controllers {', '.join(missing)}"
    if (root / "cgroup.type").exists() and (root / "cgroup.procs").read_text().strip():
        # The root of a container: "no internal processes" keeps its children without any.
        passed = (root / "cgroup.subtree_control").read_text().split()
        if any(name not in passed for name in _WANTED):
            return "cgroup v2 here is a container's, which has processes in its root"
    return ""


def limits(vcpus: int, memory_mib: int) -> dict[str, str]:
    """File name -> value, for a guest with so many CPUs and MiB."""
    return {
        "memory.max": str(memory_mib * 1024 * 1024 + OVERHEAD),
        "cpu.weight": str(min(_WEIGHT * vcpus, _MOST_WEIGHT)),
        "pids.max": str(vcpus + _THREADS),
    }


def path_of(caller: int, mark: str, root: Path = ROOT) -> Path:
    """The group of a jail: below one for all of its user."""
    return root / f"banger-{caller}" / mark


def make(caller: int, mark: str, values: dict[str, str], root: Path = ROOT) -> str:
    """Make the group and return its path; empty where there can be none. Raises ``OSError``."""
    if obstacle(root):
        return ""
    group = path_of(caller, mark, root)
    parent = group.parent
    for folder in (root, parent):
        folder.mkdir(mode=0o755, exist_ok=True)
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _WANTED))
    group.mkdir(mode=0o755, exist_ok=True)
    for name, value in values.items():
        (group / name).write_text(value)
    return str(group)


def remove(path: Path) -> None:
    """Remove an empty group, and the caller's with the last one; no group is fine.

    Raises ``OSError``.
    """
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            break
        except OSError:
            # The kernel takes a moment to see that the last process is gone.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            break
    with contextlib.suppress(OSError):
        path.parent.rmdir()
