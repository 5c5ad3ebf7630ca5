"""The identity and life of a VMM process: found by its mark, told apart for sure, ended."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from banger.drivers.vmm.base import Counters
from banger.errors import PermissionRefused, VMMFailed
from banger.host import process, process_usage
from banger.host.threads import in_thread
from banger.model.vm import Machine


class DiskCounters(Struct, frozen=True):
    """Bytes that a guest has read from and written to all its drives since its start."""

    read_bytes: int
    written_bytes: int


def unprivileged_user() -> tuple[int, int] | None:
    """The ``(uid, gid)`` that VMMs run as: nobody if we are root, else ``None`` (ourselves)."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def trusted_uids() -> frozenset[int]:
    """The real uids under which a VMM of ours can run; anybody can copy a mark."""
    user = unprivileged_user()
    return frozenset({os.geteuid()} if user is None else {os.geteuid(), user[0]})


def identify(pid: int, accelerator: str, version: str) -> Machine | None:
    """What tells the live process ``pid`` from every other one; None if it is gone."""
    ticks, executable = process.start_ticks(pid), process.executable_of(pid)
    if ticks is None or not executable:
        return None
    return Machine(
        pid=pid,
        start_ticks=ticks,
        executable=executable,
        boot_id=process.boot_id(),
        accelerator=accelerator,
        version=version,
    )


async def spawned(spawn: Callable[[], int]) -> int:
    """The pid of what ``spawn`` starts, in a thread: the event loop has better to do.

    On cancellation the process is ended again.
    """
    pids: list[int] = []
    try:
        await in_thread(lambda _stopped: pids.append(spawn()))
    except asyncio.CancelledError:
        for pid in pids:
            # A child that nobody has waited for: the number means nothing else.
            ticks = process.start_ticks(pid, even_dead=True) or 0
            process.kill_exact(pid, ticks, signal.SIGKILL)
            await asyncio.shield(process.wait_gone(pid, ticks))
        raise
    return pids[0]


def is_same(machine: Machine, mark: str) -> bool:
    """Whether the process lives: boot, pid, start time, executable and mark all agree."""
    return (
        machine.boot_id == process.boot_id()
        and process.start_ticks(machine.pid) == machine.start_ticks
        and process.executable_of(machine.pid) == machine.executable
        and process.carries_mark(process.argv_of(machine.pid), mark)
    )


def find_marked(mark: str, executable: Path) -> int | None:
    """The pid of the process of ours that runs ``executable`` and carries ``mark``."""
    program = executable.resolve()
    for pid in process.find_by_argument(mark, trusted_uids()):
        # After an upgrade the running file is gone, but its path is still the same.
        if Path(process.executable_of(pid)) == program:
            return pid
    return None


async def wait_gone(machine: Machine) -> None:
    """Return when the process is gone; a dead child of ours is reaped."""
    if machine.boot_id != process.boot_id():
        return
    await process.wait_gone(machine.pid, machine.start_ticks)


async def end(machine: Machine, mark: str) -> None:
    """Kill the process if it is the one meant, and return when it is gone."""
    if not is_same(machine, mark):
        if process.start_ticks(machine.pid) is None:
            await wait_gone(machine)  # perhaps it is just ending
        return
    try:
        process.kill_exact(machine.pid, machine.start_ticks, signal.SIGKILL)
    except PermissionError as error:
        raise PermissionRefused(
            f"the VMM process {machine.pid} could not be ended",
            cause="it belongs to another user",
            resolution=f"sudo kill -9 {machine.pid}",
        ) from error
    await wait_gone(machine)


async def counters(machine: Machine, disks: DiskCounters | None) -> Counters:
    """What the process has used, with what its VMM told of the drives.

    Raises ``VMMFailed`` if it is gone.
    """
    usage = None
    if machine.boot_id == process.boot_id():
        usage = await asyncio.to_thread(process_usage.read, machine.pid, machine.start_ticks)
    if usage is None:
        raise VMMFailed(
            f"the VMM process {machine.pid} is gone",
            cause="it ended before it could be looked at",
            resolution="banger ls",
        )
    return Counters(
        read_at=time.monotonic(),
        cpu_seconds=usage.cpu_seconds,
        resident_bytes=usage.resident_bytes,
        proportional_bytes=usage.proportional_bytes,
        disk_read_bytes=disks.read_bytes if disks else None,
        disk_written_bytes=disks.written_bytes if disks else None,
    )
