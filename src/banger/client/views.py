"""The objects of the API as the client sees them: plain dictionaries with known keys."""

from __future__ import annotations

from typing import Any, TypedDict

#: A decoded JSON object of which only some keys are known.
JSONObject = dict[str, Any]


class ProblemView(TypedDict, total=False):
    """Why an object is broken or an operation failed; the keys of ``BangerError.as_dict``."""

    code: str
    brief: str
    cause: str
    resolution: str
    details: str


class ExitView(TypedDict):
    """Why and when a VM stopped."""

    reason: str
    at: str
    detail: str


class ForwardView(TypedDict):
    """A port of the host that leads to one of a guest."""

    protocol: str
    host_port: int
    guest_port: int


class VMView(TypedDict):
    """A VM. Sizes are bytes unless the name says MiB; times RFC 3339 in UTC."""

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
    created_at: str
    started_at: str | None
    uptime_seconds: float
    last_exit: ExitView | None
    problem: ProblemView | None
    directory: str
    generation: int
    warnings: list[str]
    nat: bool
    isolated: bool
    host_access: bool
    jail: bool
    restart: str
    forwards: list[ForwardView]


class StatsView(TypedDict):
    """What a running VM has used since its start; None where nobody can tell.

    ``read_at`` is the moment in seconds of a monotonic clock.
    """

    id: str
    name: str
    state: str
    vcpus: int
    started_at: str
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


class PrunableView(TypedDict):
    """Something of images that nobody uses; ``kind`` is image, remains or cache."""

    kind: str
    id: str
    name: str
    path: str
    bytes: int


class ImageView(TypedDict):
    """An image; sizes are bytes."""

    id: str
    name: str
    state: str
    suite: str
    size_bytes: int
    allocated_bytes: int
    rootfs_sha256: str
    kernel_version: str
    packages_sha256: str
    docker: bool
    drift: bool
    origin: str
    used_by: list[str]
    created_at: str
    directory: str


class TargetView(TypedDict):
    """What an operation works on: ``kind`` is ``vm`` or ``image``."""

    kind: str
    id: str
    name: str


class StepView(TypedDict):
    """One step of an operation; ``phase`` is ``intent``, ``done`` or ``undone``."""

    position: int
    name: str
    title: str
    phase: str


class ProgressView(TypedDict):
    """How far the present step is; ``fraction`` is 0 to 1, or null where nobody knows."""

    title: str
    fraction: float | None
    detail: str


class OperationView(TypedDict):
    """Journalled work of the daemon."""

    id: str
    kind: str
    target: TargetView
    status: str
    steps: list[StepView]
    progress: ProgressView | None
    error: ProblemView | None
    result: JSONObject
    log: str | None
    created_at: str
    ended_at: str | None


class AccessView(TypedDict):
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


def ended(operation: OperationView) -> bool:
    """Whether nothing more will happen to ``operation``."""
    return operation["status"] not in ("running", "undoing")
