"""What the daemon answers: one type for each kind of object."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct


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


class Forward(Struct, frozen=True):
    """A port of the host that leads to one of a guest."""

    protocol: Literal["tcp", "udp"]
    host_port: int
    guest_port: int


class VM(Struct, frozen=True):
    """A VM. Sizes are bytes unless the name says MiB; ``address`` is the guest's own.

    ``nat``: it reaches the internet while it runs. ``isolated``: it reaches no other VM.
    ``host_access``: it reaches the host's services, and not only ping and DNS.
    ``jail``: its VMM runs in a jail. ``restart``: ``always`` or ``no``.
    """

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
    nat: bool
    isolated: bool
    host_access: bool
    jail: bool
    restart: str
    forwards: list[Forward]


class VMs(Struct, frozen=True):
    """All VMs, oldest first."""

    vms: list[VM]


class Stats(Struct, frozen=True):
    """What a running VM has used since its start; null where nobody can tell.

    ``read_at`` is the moment in seconds of a clock that never goes back: of two answers, the
    difference of a counter by that of ``read_at`` is a rate, as long as ``started_at`` is the
    same. ``memory_bytes`` is what the guest was given, ``resident_bytes`` what its VMM holds,
    ``proportional_bytes`` the same with shared pages in parts. Network figures are the guest's.
    """

    id: str
    name: str
    state: str
    vcpus: int
    started_at: datetime
    uptime_seconds: float
    read_at: float
    cpu_seconds: float
    memory_bytes: int
    resident_bytes: int
    proportional_bytes: int | None
    disk_read_bytes: int | None
    disk_written_bytes: int | None
    overlay_bytes: int | None
    overlay_used_bytes: int | None
    received_bytes: int | None
    sent_bytes: int | None
    received_packets: int | None
    sent_packets: int | None
    received_drops: int | None
    sent_drops: int | None


class AllStats(Struct, frozen=True):
    """Every VM that runs, oldest first."""

    stats: list[Stats]


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
