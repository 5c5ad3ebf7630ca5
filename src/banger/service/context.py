"""What every use case works with: rows, drivers, paths and the event bus, wired once."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct, field

from banger.drivers.dns.base import NameService
from banger.drivers.guest.base import Guest, GuestAgent
from banger.drivers.image.base import ImageBuilder, ImageImporter
from banger.drivers.network.base import Network
from banger.drivers.storage.base import RootfsStore, WorkDisk
from banger.drivers.vmm.base import VMM
from banger.model.vm import VM
from banger.paths import Paths
from banger.service.events import EventBus
from banger.service.failpoints import Failpoints
from banger.settings import Settings
from banger.store.database import Database
from banger.store.images import Images
from banger.store.operations import Operations
from banger.store.resources import Resources
from banger.store.vms import VMs


class Choice(Struct, frozen=True):
    """The drivers that ``auto`` means on this host."""

    vmm: str
    storage: str
    network: str
    #: For a VMM that knows no qcow2.
    raw_storage: str = "copy"


class Drivers(Struct, frozen=True):
    """Every driver by name, and how ``auto`` is resolved (it may have to probe the host)."""

    vmms: Mapping[str, VMM]
    stores: Mapping[str, RootfsStore]
    networks: Mapping[str, Network]
    work_disk: WorkDisk
    builder: ImageBuilder
    importer: ImageImporter
    guest: Guest
    names: NameService
    choose: Callable[[], Awaitable[Choice]]
    #: The user and group VMMs drop to, when the daemon is root.
    run_as: tuple[int, int] | None = None


class Context(Struct, frozen=True):
    """The daemon's one set of collaborators."""

    uid: int
    boot_id: str
    paths: Paths
    settings: Settings
    drivers: Drivers
    database: Database
    vms: VMs
    images: Images
    operations: Operations
    resources: Resources
    events: EventBus
    failpoints: Failpoints
    agents: dict[str, GuestAgent] = field(default_factory=dict)

    def agent(self, vm: VM) -> GuestAgent:
        """The (one) agent connection of a VM."""
        if vm.id not in self.agents:
            self.agents[vm.id] = self.drivers.guest.connect(
                self.paths.agent_socket(vm.id),
                vsock=self.drivers.vmms[vm.spec.vmm].capabilities().vsock,
            )
        return self.agents[vm.id]

    def change_vm(self, vm: VM, **changes: Any) -> VM:
        """Write changed fields of a VM's row as its next generation, and tell listeners."""
        changed = dataclasses.replace(vm, generation=vm.generation + 1, **changes)
        self.vms.update(changed)
        self.events.publish("vm", changed)
        return changed

    async def drop_agent(self, vm_id: str) -> None:
        """Close the agent connection of a VM that is gone."""
        agent = self.agents.pop(vm_id, None)
        if agent is not None:
            await agent.close()
