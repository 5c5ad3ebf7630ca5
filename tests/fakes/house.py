"""The real services and store over the fake world, for tests that need no host."""

from __future__ import annotations

from pathlib import Path

from banger.host import files
from banger.paths import Paths
from banger.service import recovery
from banger.service.access import AccessService
from banger.service.change import ChangeService
from banger.service.connectivity import ConnectivityService
from banger.service.context import Choice, Context, Drivers
from banger.service.customizing import CustomizeService
from banger.service.events import EventBus
from banger.service.failpoints import Failpoints
from banger.service.image_import import ImageImportService
from banger.service.image_prune import ImagePruneService
from banger.service.images import ImageService
from banger.service.operations import OperationService
from banger.service.own_images import OwnImageService
from banger.service.power import PowerService
from banger.service.vms import VMService
from banger.settings import Settings
from banger.store.database import open_database
from banger.store.images import Images
from banger.store.operations import Operations
from banger.store.resources import Resources
from banger.store.vms import VMs
from tests.fakes.world import (
    BOOT_ID,
    FakeBuilder,
    FakeGuest,
    FakeImporter,
    FakeNames,
    FakeNetwork,
    FakeStore,
    FakeVMM,
    FakeWorkDisk,
    World,
)

UID = 1000


class House:
    """One "daemon": built over a folder, and built again after a kill."""

    def __init__(
        self, root: Path, *, failpoints: tuple[str, ...] = (), boot_id: str = BOOT_ID
    ) -> None:
        self.world = World(root / "world")
        paths = Paths(
            state=root / "state",
            data=root / "data",
            cache=root / "cache",
            config=root / "config",
            runtime=root / "run",
        )
        files.make_private_folder(paths.state)
        database, self.warning = open_database(paths.database)

        async def choose() -> Choice:
            return Choice("fake", "fake", "tap")

        drivers = Drivers(
            vmms={"fake": FakeVMM(self.world)},
            stores={"fake": FakeStore(self.world)},
            networks={"tap": FakeNetwork(self.world)},
            work_disk=FakeWorkDisk(),
            builder=FakeBuilder(),
            importer=FakeImporter(),
            guest=FakeGuest(self.world),
            names=FakeNames(self.world),
            choose=choose,
        )
        self.context = Context(
            uid=UID,
            boot_id=boot_id,
            paths=paths,
            settings=Settings(),
            drivers=drivers,
            database=database,
            vms=VMs(database),
            images=Images(database),
            operations=Operations(database),
            resources=Resources(database),
            events=EventBus(),
            failpoints=Failpoints(failpoints),
        )
        self.operations = OperationService(self.context)
        self.images = ImageService(self.context, self.operations)
        self.importing = ImageImportService(self.context, self.operations)
        self.pruning = ImagePruneService(self.context, self.operations)
        self.vms = VMService(self.context, self.operations, self.images)
        self.customizing = CustomizeService(self.context, self.images, self.operations)
        self.own_images = OwnImageService(self.context, self.vms, self.operations)
        self.power = PowerService(self.vms, self.operations)
        self.change = ChangeService(self.context, self.vms, self.images, self.operations)
        self.connectivity = ConnectivityService(self.context, self.vms, self.operations)
        self.access = AccessService(self.context, self.vms)

    async def start(self) -> House:
        """What the daemon does before it listens; must run in the event loop."""
        recovery.prepare_folders(self.context)
        recovery.recover(self.context, self.operations)
        return self
