"""What a driver that did not launch a VM itself must know of it: one file beside the socket."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from msgspec import Struct, field, structs

from banger.drivers.vmm.base import BootSpec
from banger.drivers.vmm.firecracker import workspace
from banger.host.files import explained
from banger.model.vm import Machine

_LIMIT = 64 * 1024


class BootRecord(Struct, frozen=True):
    """A launched process and where its files are. ``console_bytes``: see ``exit_reason``.

    ``config`` is what it was told over its API, in the form of its own configuration file.
    """

    pid: int
    start_ticks: int
    process_name: str
    events: str
    console_log: str
    console_bytes: int
    config: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of_launch(
        cls, machine: Machine, spec: BootSpec, *, console_bytes: int, config: dict[str, object]
    ) -> BootRecord:
        """The record of a process that was started for ``spec``."""
        return cls(
            pid=machine.pid,
            start_ticks=machine.start_ticks,
            process_name=spec.process_name,
            events=str(spec.events),
            console_log=str(spec.console_log),
            console_bytes=console_bytes,
            config=config,
        )


def write(monitor_socket: Path, record: BootRecord) -> None:
    """Keep the record in the folder of the socket, which only our user may write."""
    path = _path(monitor_socket.parent)
    with explained(f"write {path}"):
        # Whole or not at all, but not synced: a reboot ends the process that it tells of.
        new = path.with_suffix(".new")
        new.write_text(json.dumps(structs.asdict(record)))
        new.replace(path)


def remove(monitor_socket: Path) -> None:
    """Forget the record; nothing happens if there is none."""
    _path(monitor_socket.parent).unlink(missing_ok=True)


def read(folder: Path) -> BootRecord | None:
    """The record in the folder; None if there is none, or one that is not ours."""
    try:
        descriptor = os.open(_path(folder), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
                return None
            return BootRecord(**json.loads(os.read(descriptor, _LIMIT)))
        finally:
            os.close(descriptor)
    except (OSError, ValueError, TypeError):
        return None


def of_process(pid: int) -> BootRecord | None:
    """The record of a live process, found by its current folder."""
    try:
        folder = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
    if folder.name != workspace.FOLDER:
        return None
    record = read(folder.parent)
    return record if record is not None and record.pid == pid else None


def _path(folder: Path) -> Path:
    return folder / "boot.json"
