"""A VM: what was asked for (spec), what it holds (lease, machine) and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from banger.model.lifecycle import ExitReason, VMState
from banger.model.network import CLOSED, Lease, Reach

MIB = 1024 * 1024
GIB = 1024 * MIB

#: Limits of spec rows R3 to R5, and the defaults.
MAX_VCPUS = 16
MAX_MEMORY_MIB = 32768
MIN_MEMORY_MIB = 64
MAX_DISK_BYTES = 2048 * GIB
MIN_DISK_BYTES = 64 * MIB
DEFAULT_VCPUS = 2
DEFAULT_MEMORY_MIB = 1024
DEFAULT_OVERLAY_BYTES = 8 * GIB


@dataclass(frozen=True, slots=True)
class VMSpec:
    """What the user asked for, with every ``auto`` resolved at creation.

    Either ``image_id`` names an image, or ``rootfs`` and ``kernel`` (and perhaps ``initrd``)
    are absolute paths of the user's own files. Sizes are bytes unless the name says MiB.
    """

    vcpus: int
    memory_mib: int
    overlay_bytes: int
    work_disk_bytes: int
    image_id: str
    image_name: str
    rootfs: str
    kernel: str
    initrd: str
    vmm: str
    storage: str
    network: str
    profile: str
    reach: Reach = CLOSED
    #: Whether the VMM runs in a jail, as a user of its own.
    jail: bool = False
    #: A folder with the modules of the user's own kernel.
    modules: str = ""
    #: ``always``: it is started again whenever it ends without anybody having asked for that.
    restart: str = "no"
    #: When that was chosen (Unix time); ends before it are not followed by a start.
    restart_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What proves a live process to be the VMM of a VM (see ``drivers.vmm.base``)."""

    pid: int
    start_ticks: int
    executable: str
    boot_id: str
    accelerator: str
    version: str


@dataclass(frozen=True, slots=True)
class Exit:
    """Why and when a VM stopped. ``at`` is Unix time in seconds."""

    reason: ExitReason
    at: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VM:
    """One VM as the store holds it. Times are Unix time in seconds, 0.0 means never."""

    id: str
    name: str
    spec: VMSpec
    state: VMState
    lease: Lease
    created_at: float
    started_at: float = 0.0
    machine: Machine | None = None
    last_exit: Exit | None = None
    problem: dict[str, str] = field(default_factory=dict)
    generation: int = 1
