"""Checks for ``doctor`` whether Firecracker can run in a jail, and how far a jail bounds it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from banger.errors import BangerError
from banger.host.finding import Check, Status
from banger.host.firecracker_binary import find_firecracker
from banger.host.privilege import Privilege
from banger.privileged import control_group
from banger.privileged.jail_calls import DIGESTS

_FETCH = "banger setup --firecracker fetch"
_PURPOSE, _NEEDED_FOR = "runs Firecracker as a user of its own", "--jail"


def jail_check(folder: Path, privilege: Privilege, groups: Path = control_group.ROOT) -> Check:
    """``folder`` is where a taken Firecracker lies; ``groups`` is the mount of cgroup v2."""
    try:
        program = find_firecracker(folder)
    except BangerError:
        return _check(Status.WARN, "no Firecracker", "nothing to do, unless VMs shall be jailed")
    if not program.jailer:
        found = f"there is no jailer beside {program.path}"
        return _check(Status.WARN, found, _FETCH)
    for name, path in (("firecracker", program.path), ("jailer", Path(program.jailer))):
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            return _check(Status.WARN, f"{path}: {error.strerror}", _FETCH)
        if digest != DIGESTS[name]:
            found = f"{path} is not the release that may be jailed"
            return _check(Status.WARN, found, _FETCH)
    obstacle = privilege.obstacle()
    if obstacle:
        return _check(Status.WARN, obstacle, "sudo banger setup")
    without = control_group.obstacle(groups)
    if without:
        found = f"without bounds on memory, CPU and threads: {without}"
        return _check(Status.OK, found, "")
    return _check(Status.OK, "with bounds on memory, CPU and threads (cgroup v2)", "")


def _check(status: Status, found: str, resolution: str) -> Check:
    return Check("jail", _PURPOSE, status, found, resolution, _NEEDED_FOR)
