"""The folder in which one build keeps its tree: in memory where there is room, else on disk."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from pathlib import Path

from banger.drivers.image import rootfs
from banger.errors import HostNotReady
from banger.host import files, memory, process
from banger.host.command import run

GIB = 1024**3
#: A build of the shipped list peaks at 0.7 GiB, one with Docker at twice that.
ROOM_BYTES = 2 * GIB
#: Left to everybody else when a build lives in memory.
_MEMORY_RESERVE_MIB = 1024
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, refused if it exists


def mark(scratch: Path) -> str:
    """The name of the folder of the build that has ``scratch``: unique on this host."""
    digest = hashlib.sha256(os.fsencode(scratch)).hexdigest()
    return f"banger-image-{os.geteuid()}-{digest[:12]}"


def fits_into_memory(
    free_bytes: int, available_mib: int, flags: int, room: int = ROOM_BYTES
) -> bool:
    """Whether a tmpfs with these numbers (and ``statvfs`` flags) can hold so many bytes."""
    enough = available_mib * 1024**2 >= room + _MEMORY_RESERVE_MIB * 1024**2
    return free_bytes >= room and enough and not flags & os.ST_NOEXEC


def _on_disk(scratch: Path, *, is_root: bool) -> Path:
    # The ids of a user namespace are strangers to the user's private folders.
    return scratch / mark(scratch) if is_root else Path("/var/tmp") / mark(scratch)  # noqa: S108


def make(scratch: Path, *, is_root: bool, content: int = 0) -> Path:
    """Make the folder, for a tree of ``content`` bytes before anything is added to it.

    Raises ``HostNotReady`` if there is room nowhere.
    """
    room = ROOM_BYTES + content
    path = _MEMORY / mark(scratch)
    status = os.statvfs(_MEMORY) if _MEMORY.is_dir() else None
    if status is None or not fits_into_memory(
        status.f_bavail * status.f_frsize, memory.available_mib(), status.f_flag, room
    ):
        path = _on_disk(scratch, is_root=is_root)
        free = files.free_bytes(path.parent)
        if free < room:
            raise HostNotReady(
                f"there is no room for an image build in {path.parent}",
                cause=f"{free // 1024**2} MiB are free, and {room // 1024**2} are needed",
                resolution="free disk space, then build again",
            )
    with files.explained(f"make the folder {path}"):
        # 0711: without root, another id of ours must find its own folder inside.
        path.mkdir(mode=0o711)
        path.chmod(0o711)
    return path


async def remove(scratch: Path, prefix: tuple[str, ...]) -> None:
    """Remove the folder wherever it is; nothing happens if there is none."""
    for path in (_MEMORY / mark(scratch), _on_disk(scratch, is_root=not prefix)):
        if path.is_symlink() or not path.is_dir() or path.stat().st_uid != os.geteuid():
            continue
        await run(rootfs.remove_command(prefix, path))


async def end_leftovers(scratch: Path) -> None:
    """Kill what a dead daemon's build still runs: each process group whose leader is marked."""
    own = os.getpgrp()
    wanted = mark(scratch)
    marked = [(pid, process.start_ticks(pid)) for pid in process.find_by_argument(wanted)]
    for group in {_group_of(pid) for pid, _ in marked} - {None, own}:
        if group is not None and process.carries_mark(process.argv_of(group), wanted):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
    # In seconds; a killed process ends when the kernel has freed its memory.
    async with asyncio.timeout(10):
        for pid, ticks in marked:
            if ticks is not None and _group_of(pid) != own:
                await process.wait_gone(pid, ticks)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
