"""Lists what of banger lives on the host, told apart by home, so that leaks show."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from banger.naming import ID_PATTERN, process_name, snapshot_uuid, tap_name
from banger.paths import Paths
from banger.privileged.control_group import path_of
from banger.privileged.jail_calls import folder_of

_PROC = Path("/proc")
_ID = re.compile(ID_PATTERN)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Names of host objects, each with what it is."""

    items: frozenset[str]

    @classmethod
    def take(cls, paths: Paths) -> Inventory:
        """What exists now and belongs to the home of ``paths``.

        Other homes on the same machine may be in use: interfaces count when this home's
        database or folders name their VM, processes and mounts when they name this home.
        """
        ids = ids_in(paths)
        root = paths.state.parents[1]
        items = {f"interface {tap_name(vm_id)}" for vm_id in ids if _has_link(tap_name(vm_id))}
        marks = {process_name(os.geteuid(), vm_id).encode() for vm_id in ids}
        for pid, arguments in _processes():
            if any(mark in arguments for mark in marks):
                items.add(f"process {pid}: {arguments.replace(bytes(1), b' ').decode()[:200]}")
        for vm_id in ids:
            mark = process_name(os.geteuid(), vm_id)
            if os.path.lexists(folder_of(mark)):
                items.add(f"jail {folder_of(mark)}")
            if path_of(os.geteuid(), mark).exists():
                items.add(f"control group {path_of(os.geteuid(), mark)}")
        uuids = {snapshot_uuid(os.geteuid(), vm_id) for vm_id in ids}
        items.update(f"device {uuid}" for uuid in _mapped_devices() & uuids)
        rules = _rules()
        items.update(f"rules {tap_name(vm_id)}" for vm_id in ids if tap_name(vm_id) in rules)
        for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
            if str(root) in line:
                items.add(f"mount {line}")
        for folder in (paths.vms, paths.scratch, paths.runtime / "vms"):
            if folder.is_dir():
                items.update(f"file {path}" for path in folder.iterdir())
        return cls(frozenset(items))

    def beyond(self, before: Inventory) -> list[str]:
        """What is here now and was not before."""
        return sorted(self.items - before.items)


def ids_in(paths: Paths) -> set[str]:
    """The id of every VM that this home ever had: the operation rows outlive the VM."""
    found: set[str] = set()
    if paths.database.exists():
        # Not `with`: a connection's context manager ends a transaction and closes nothing.
        database = sqlite3.connect(f"file:{paths.database}?mode=ro", uri=True)
        try:
            rows = database.execute("SELECT id FROM vm UNION SELECT target_id FROM operation")
            found.update(row[0] for row in rows if _ID.fullmatch(row[0]))
        except sqlite3.DatabaseError:
            pass  # a test may have spoilt the database on purpose
        finally:
            database.close()
    for folder in (paths.vms, paths.runtime / "vms"):
        if folder.is_dir():
            found.update(path.name for path in folder.iterdir() if _ID.fullmatch(path.name))
    return found


def _mapped_devices() -> set[str]:
    """The uuid of each device of device-mapper."""
    found = set()
    for path in Path("/sys/block").glob("dm-*/dm/uuid"):
        with contextlib.suppress(OSError):
            found.add(path.read_text().strip())
    return found


def _rules() -> str:
    """The nftables table of this user's guests; nothing where there is none, or no right to it."""
    argv = ("/usr/sbin/nft", "list", "table", "inet", f"banger_{os.geteuid()}")
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _has_link(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _processes() -> list[tuple[int, bytes]]:
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                found.append((int(entry.name), (entry / "cmdline").read_bytes()))
    return found


def processes_of(root: Path) -> list[int]:
    """Live processes that carry the path of this home in their arguments or environment."""
    wanted = os.fsencode(root) + b"/"
    found = []
    for pid, arguments in _processes():
        with contextlib.suppress(OSError):
            environment = (_PROC / str(pid) / "environ").read_bytes()
            if wanted in arguments or wanted in environment:
                found.append(pid)
    return found


def end_processes_of(root: Path) -> None:
    """Kill whatever still runs from a test's home."""
    deadline = time.monotonic() + 10
    while (left := processes_of(root)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def remove_links_of(ids: set[str]) -> None:
    """Delete TAP interfaces that a failed test left."""
    for name in sorted(tap_name(vm_id) for vm_id in ids):
        if _has_link(name):
            subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
