"""What the handlers need of the services, as protocols; the wiring and the tests fill them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from banger.daemon.image_ports import Customizing, Images, Importing, OwnImages, Pruning
from banger.drivers.guest.base import GuestCommand, GuestProcess
from banger.drivers.network.base import Traffic
from banger.drivers.vmm.base import Counters
from banger.model.network import Forward
from banger.model.operation import Operation, StepRecord
from banger.model.storage import DiskUsage
from banger.model.vm import VM
from banger.service.events import Published
from banger.service.requests import (
    CreateRequest,
    SetRequest,
)


class VMFacts(Protocol):
    """A VM and what is observed of it."""

    @property
    def vm(self) -> VM: ...
    @property
    def overlay_used_bytes(self) -> int: ...
    @property
    def directory(self) -> str: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def dns_name(self) -> str: ...


class VMs(Protocol):
    """``service.vms``."""

    def list(self) -> Sequence[VM]: ...
    def get(self, reference: str) -> VM: ...
    def describe(self, vm: VM) -> VMFacts: ...
    async def create(self, request: CreateRequest, idempotency_key: str = "") -> Operation: ...
    async def rename(self, reference: str, name: str) -> Operation: ...
    async def delete(self, reference: str, *, force: bool) -> Operation: ...


class Power(Protocol):
    """``service.power``."""

    async def start(self, reference: str, *, wait: bool, timeout: float) -> Operation: ...
    async def stop(self, reference: str, *, timeout: float) -> Operation: ...
    async def kill(self, reference: str) -> Operation: ...
    async def restart(self, reference: str, *, wait: bool, timeout: float) -> Operation: ...
    async def pause(self, reference: str) -> Operation: ...
    async def resume(self, reference: str) -> Operation: ...


class Change(Protocol):
    """``service.change``."""

    async def set(self, reference: str, request: SetRequest) -> Operation: ...
    async def clone(self, reference: str, name: str) -> Operation: ...
    async def rebuild(self, reference: str, image: str = "") -> Operation: ...


class Connectivity(Protocol):
    """``service.connectivity``."""

    async def nat(self, reference: str, *, up: bool) -> Operation: ...
    async def publish(self, reference: str, forward: Forward) -> Operation: ...
    async def withdraw(self, reference: str, forward: Forward) -> Operation: ...


class Progress(Protocol):
    """What a running operation last reported."""

    @property
    def title(self) -> str: ...
    @property
    def fraction(self) -> float | None: ...
    @property
    def detail(self) -> str: ...


class Operations(Protocol):
    """``service.operations``."""

    def list(self, *, active_only: bool = False) -> Sequence[Operation]: ...
    def get(self, reference: str) -> Operation: ...
    def steps(self, operation_id: str) -> Sequence[StepRecord]: ...
    def titles(self, kind: str) -> dict[str, str]: ...
    def progress(self, operation_id: str) -> Progress | None: ...
    async def wait(self, operation_id: str, *, timeout: float | None = None) -> Operation: ...
    async def cancel(self, reference: str) -> Operation: ...


class Subscription(Protocol):
    """One listener of ``service.events``."""

    async def get(self) -> Published: ...


class Events(Protocol):
    """``service.events``."""

    def subscribe(self) -> AbstractContextManager[Subscription]: ...


class Endpoint(Protocol):
    """How to reach a guest."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def known_hosts(self) -> str: ...
    @property
    def host_alias(self) -> str: ...
    @property
    def ssh(self) -> Sequence[str]: ...
    @property
    def agent(self) -> bool: ...
    @property
    def console_socket(self) -> str: ...
    @property
    def console_log(self) -> str: ...


class Access(Protocol):
    """``service.access``."""

    async def endpoint(self, reference: str) -> Endpoint: ...
    async def execute(self, reference: str, command: GuestCommand) -> GuestProcess: ...
    async def logs(self, reference: str, *, lines: int, follow: bool) -> AsyncIterator[bytes]: ...


class VMStats(Protocol):
    """One look at a running VM."""

    @property
    def vm(self) -> VM: ...
    @property
    def uptime_seconds(self) -> float: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def overlay(self) -> DiskUsage | None: ...
    @property
    def traffic(self) -> Traffic | None: ...


class Stats(Protocol):
    """``service.stats``."""

    async def of(self, reference: str) -> VMStats: ...
    async def all(self) -> Sequence[VMStats]: ...


class DriverFact(Struct, frozen=True):
    """The driver that ``auto`` means and why; the last two are known of a VMM only."""

    name: str
    reason: str
    accelerator: str = ""
    version: str = ""


class DriverFacts(Struct, frozen=True):
    """The drivers that ``auto`` means."""

    vmm: DriverFact
    storage: DriverFact
    network: DriverFact


class DaemonFacts(Struct, frozen=True):
    """What stays the same for the life of the daemon. ``started_at`` is Unix seconds."""

    version: str
    build: str
    pid: int
    uid: int
    socket: str
    database: str
    log: str
    started_at: float
    boot_id: str


class Services(Struct, frozen=True):
    """All that the handlers work with.

    ``changes`` moves with every change of the stored rows. ``stopping`` returns when the
    daemon is about to end; ``stop`` makes it end. ``operation_log`` is where an operation's
    output lies, empty if it has none.
    """

    vms: VMs
    power: Power
    change: Change
    connectivity: Connectivity
    images: Images
    own_images: OwnImages
    importing: Importing
    customizing: Customizing
    pruning: Pruning
    operations: Operations
    events: Events
    access: Access
    stats: Stats
    facts: DaemonFacts
    drivers: Callable[[], Awaitable[DriverFacts]]
    changes: Callable[[], int]
    operation_log: Callable[[str], str]
    stopping: Callable[[], Awaitable[object]]
    stop: Callable[[], None]
