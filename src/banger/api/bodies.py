"""Request and response bodies, with every limit that a client can know beforehand."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from banger.model.image import DEFAULT_IMAGE, DEFAULT_SUITE
from banger.model.vm import (
    DEFAULT_MEMORY_MIB,
    DEFAULT_OVERLAY_BYTES,
    DEFAULT_VCPUS,
    GIB,
    MAX_DISK_BYTES,
    MAX_MEMORY_MIB,
    MAX_VCPUS,
    MIN_DISK_BYTES,
    MIN_MEMORY_MIB,
)
from banger.naming import NAME_PATTERN

#: Text for the operating system: a zero byte would end it early.
_NO_ZERO = r"^[^\x00]*$"
#: A line of a package list: perhaps a name, perhaps a comment, no line break of any kind.
_PACKAGE_LINE = (
    r"^[ \t]*([a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?)?[ \t]*"
    r"(#[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]*)?$"
)
Name = Annotated[str, Meta(pattern=NAME_PATTERN, description="a-z, 0-9 and '-'")]
NameOrNone = Annotated[
    str, Meta(pattern=r"^([a-z0-9][a-z0-9-]{0,63})?$", description="a name; empty for the default")
]
Path = Annotated[
    str, Meta(pattern=r"^(/[^\x00]*)?$", max_length=4095, description="absolute path on the host")
]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
DiskSize = Annotated[int, Meta(ge=MIN_DISK_BYTES, le=MAX_DISK_BYTES, description="bytes")]
WorkDiskSize = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_DISK_BYTES,
        description="bytes, 0 for none",
        extra_json_schema={"anyOf": [{"const": 0}, {"minimum": MIN_DISK_BYTES}]},
    ),
]
Text = Annotated[str, Meta(pattern=_NO_ZERO, max_length=131071)]


class CreateVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """A VM to be made. What is absent takes the default."""

    name: NameOrNone = ""
    image: NameOrNone = ""
    vcpus: Annotated[int, Meta(ge=1, le=MAX_VCPUS)] = DEFAULT_VCPUS
    memory_mib: Annotated[int, Meta(ge=MIN_MEMORY_MIB, le=MAX_MEMORY_MIB)] = DEFAULT_MEMORY_MIB
    overlay_bytes: DiskSize = DEFAULT_OVERLAY_BYTES
    work_disk_bytes: WorkDiskSize = 0
    rootfs: Path = ""
    kernel: Path = ""
    initrd: Path = ""
    vmm: Annotated[str, Meta(pattern="^[a-z0-9]{1,32}$", description="auto, or a driver")] = "auto"
    storage: Literal["auto", "qcow2", "reflink", "copy"] = "auto"
    network: Literal["auto", "tap", "user"] = "auto"
    profile: Literal["auto", "standard", "fast"] = "auto"


class RenameVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """The new name of a VM."""

    name: Name


class StartVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """``wait``: the operation ends when the guest answers, at most ``timeout`` seconds later."""

    wait: bool = True
    timeout: Seconds = 120.0


class StopVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """``timeout``: seconds for the guest to end by itself before the VMM is ended."""

    timeout: Seconds = 30.0


class Nothing(Struct, forbid_unknown_fields=True, kw_only=True):
    """A body without fields."""


class BuildImage(Struct, forbid_unknown_fields=True, kw_only=True):
    """An image to be built. Without ``packages`` the user's or the shipped list is taken."""

    name: Name = DEFAULT_IMAGE
    suite: Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,31}$")] = DEFAULT_SUITE
    packages: (
        Annotated[
            list[Annotated[str, Meta(pattern=_PACKAGE_LINE, max_length=1024)]],
            Meta(min_length=1, max_length=10000, description="the lines of a package list"),
        ]
        | None
    ) = None
    size_bytes: Annotated[int, Meta(ge=GIB, le=MAX_DISK_BYTES, description="bytes")] = 8 * GIB
    rebuild: bool = False


class ExecStart(Struct, forbid_unknown_fields=True, kw_only=True):
    """The first control message of an exec stream. ``cwd`` is /root if empty."""

    argv: Annotated[list[Text], Meta(min_length=1, max_length=4096)]
    env: dict[Annotated[str, Meta(pattern=r"^[^\x00=]+$", max_length=4096)], Text] = {}
    cwd: Path = ""


class ExecSignal(Struct, forbid_unknown_fields=True, kw_only=True):
    """A later control message: send the signal to the command."""

    signal: Annotated[int, Meta(ge=1, le=64)]


class ExitFact(Struct, frozen=True):
    """Why and when a VM stopped."""

    reason: str
    at: datetime
    detail: str


class Fault(Struct, frozen=True):
    """An error that is kept with an object."""

    code: str
    brief: str
    cause: str
    resolution: str
    details: str = ""


class VM(Struct, frozen=True):
    """A VM. Sizes are bytes unless the name says MiB; ``address`` is the guest's own."""

    id: str
    name: str
    state: str
    image: str
    image_id: str
    vcpus: int
    memory_mib: int
    overlay_bytes: int
    overlay_used_bytes: int
    work_disk_bytes: int
    vmm: str
    storage: str
    network: str
    profile: str
    accelerator: str
    address: str
    mac: str
    ssh_host: str
    ssh_port: int
    dns_name: str
    pid: int
    created_at: datetime
    started_at: datetime | None
    uptime_seconds: float
    last_exit: ExitFact | None
    problem: Fault | None
    directory: str
    generation: int
    warnings: list[str]


class VMs(Struct, frozen=True):
    """All VMs, oldest first."""

    vms: list[VM]


class Access(Struct, frozen=True):
    """How to reach a guest. ``ssh`` is the argv of OpenSSH up to and including user@host."""

    id: str
    name: str
    state: str
    address: str
    user: str
    host: str
    port: int
    key: str
    known_hosts: str
    host_alias: str
    ssh: list[str]
    agent: bool
    console_socket: str
    console_log: str


class Image(Struct, frozen=True):
    """An image. ``drift``: the package list has changed since it was built."""

    id: str
    name: str
    state: str
    suite: str
    size_bytes: int
    allocated_bytes: int
    rootfs_sha256: str
    kernel_version: str
    packages_sha256: str
    drift: bool
    used_by: list[str]
    created_at: datetime
    directory: str


class Images(Struct, frozen=True):
    """All images, oldest first."""

    images: list[Image]


class Target(Struct, frozen=True):
    """What an operation works on; ``kind`` is ``vm`` or ``image``."""

    kind: str
    id: str
    name: str


class Step(Struct, frozen=True):
    """One step of an operation that was begun."""

    position: int
    name: str
    title: str
    phase: Literal["intent", "done", "undone"]


class Progress(Struct, frozen=True):
    """What a running operation does now; ``fraction`` is null where nobody knows."""

    title: str
    fraction: float | None
    detail: str


class Operation(Struct, frozen=True):
    """Work on a VM or an image."""

    id: str
    kind: str
    target: Target
    status: Literal["running", "undoing", "succeeded", "failed", "cancelled"]
    steps: list[Step]
    progress: Progress | None
    error: Fault | None
    result: dict[str, Any]
    log: str | None
    created_at: datetime
    ended_at: datetime | None


class Operations(Struct, frozen=True):
    """Operations, oldest first."""

    operations: list[Operation]


class About(Struct, frozen=True):
    """What answers on this socket. ``build`` tells one installed source from another."""

    name: str
    version: str
    build: str
    api: list[str]
    extensions: list[str]


class DriverFact(Struct, frozen=True):
    """The driver that ``auto`` means, and why; empty while the host is still being probed."""

    name: str
    reason: str


class VMMFact(Struct, frozen=True):
    """The VMM driver that ``auto`` means."""

    name: str
    reason: str
    accelerator: str
    version: str


class DriverFacts(Struct, frozen=True):
    """The drivers in use."""

    vmm: VMMFact
    storage: DriverFact
    network: DriverFact


class Daemon(Struct, frozen=True):
    """The running daemon."""

    version: str
    build: str
    pid: int
    uid: int
    socket: str
    database: str
    log: str
    started_at: datetime
    boot_id: str
    vms_total: int
    vms_running: int
    drivers: DriverFacts


class Problem(Struct, frozen=True):
    """An error (RFC 9457). ``resolution`` is the next command to type."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    brief: str
    cause: str
    resolution: str
    details: str
    operation_id: str = ""
