"""The driver on the real Firecracker, and the user that it can run as on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from banger.drivers.vmm import child
from banger.drivers.vmm.base import VMM
from banger.drivers.vmm.firecracker import rights
from banger.drivers.vmm.firecracker.driver import FirecrackerVMM
from banger.drivers.vmm.firecracker.version import parse_version
from banger.errors import HostNotReady
from tests.firecracker_program import firecracker_program


def real_firecracker() -> FirecrackerVMM:
    program = firecracker_program()
    return FirecrackerVMM(executable=program.path, version=parse_version(program.version))


def user_of(vmm: VMM) -> tuple[int, int] | None:
    """Nobody for root, but where the devices are root's alone Firecracker has to stay root."""
    user = child.unprivileged_user()
    if user is None or not isinstance(vmm, FirecrackerVMM):
        return user
    try:
        rights.kvm_groups(user)
        usable = rights.may(Path("/dev/net/tun").stat(), user, os.R_OK | os.W_OK)
    except (HostNotReady, OSError):
        return None
    return user if usable else None
