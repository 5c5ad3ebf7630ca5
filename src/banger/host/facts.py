"""Looks at the host for what the choice of drivers rests on (blocking, changes nothing)."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from banger.errors import BangerError, HostNotReady
from banger.host import files
from banger.host.choice import HostFacts
from banger.host.command import find_program
from banger.host.firecracker_binary import find_firecracker, stamp_of
from banger.host.kvm_probe import KvmVerdict
from banger.host.privilege import Privilege
from banger.paths import Paths

_TUN = Path("/dev/net/tun")


def host_facts(paths: Paths, kvm: KvmVerdict) -> HostFacts:
    """The facts now. Nothing is made that is missing, the state folder included."""
    folder = paths.state
    no_snapshots, snapshots = Privilege().probe_snapshots()
    firecracker, no_firecracker = _firecracker(paths.firecracker, stamp_of(paths.firecracker))
    return HostFacts(
        kvm=kvm.level,
        kvm_evidence=kvm.evidence,
        qemu=has_program("qemu-system-x86_64"),
        qemu_img=has_program("qemu-img"),
        reflink=folder.is_dir() and files.can_clone(folder),
        tap=tap_obstacle(),
        snapshots=snapshots,
        no_snapshots=no_snapshots,
        firecracker=firecracker,
        no_firecracker=no_firecracker,
    )


@functools.lru_cache(maxsize=8)
def _firecracker(folder: Path, stamp: object) -> tuple[str, str]:  # noqa: ARG001 - for the cache
    """The version of a verified Firecracker, or why there is none; known until it changes."""
    try:
        return find_firecracker(folder).version, ""
    except BangerError as error:
        return "", f"{error.brief}: {error.cause}" if error.cause else error.brief


def has_program(name: str) -> bool:
    """Whether the program is installed."""
    try:
        find_program(name)
    except HostNotReady:
        return False
    return True


def tap_obstacle() -> str:
    """Why no TAP interface can be made here; empty if one can."""
    obstacle = Privilege().obstacle()
    if obstacle:
        return f"a TAP interface needs root: {obstacle}"
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"a TAP interface needs {_TUN}: {error.strerror}"
    return ""
