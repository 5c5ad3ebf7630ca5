"""The composition root: the only module that names concrete drivers."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from banger import __version__
from banger.build import build_id
from banger.daemon.assembly import Assembly
from banger.daemon.late_vmm import LateVMM
from banger.daemon.ports import DaemonFacts
from banger.daemon.selection import Selection
from banger.drivers.dns.base import ResolverWiring
from banger.drivers.dns.hosts_file import HostsFile
from banger.drivers.dns.mapdns import MapdnsNames
from banger.drivers.dns.resolved import Resolved
from banger.drivers.dns.unwired import Unwired
from banger.drivers.guest.guest import LinuxGuest
from banger.drivers.guest.initrd import build_initrd
from banger.drivers.image.builder import DebianBuilder
from banger.drivers.image.importer import ArchiveImporter
from banger.drivers.network.tap import Tap
from banger.drivers.network.user import User
from banger.drivers.storage.copy import Copy
from banger.drivers.storage.dm_snapshot import DmSnapshot
from banger.drivers.storage.qcow2 import Qcow2
from banger.drivers.storage.reflink import Reflink
from banger.drivers.storage.work_disk import WorkDisks
from banger.drivers.vmm.architecture import Accelerator, of_host
from banger.drivers.vmm.base import VMM
from banger.drivers.vmm.firecracker.driver import FirecrackerVMM
from banger.drivers.vmm.firecracker.version import Version, parse_version
from banger.drivers.vmm.log_keeper import LogKeeper
from banger.drivers.vmm.qemu.driver import QemuVMM
from banger.host import process
from banger.host.firecracker_binary import find_firecracker, likely_firecracker, stamp_of
from banger.host.nameservers import host_nameservers
from banger.host.privilege import Privilege
from banger.host.resolver import wiring_of_host
from banger.host.threads import in_thread
from banger.mapdns.records import Records
from banger.naming import process_name
from banger.paths import Paths
from banger.service.context import Context, Drivers
from banger.service.events import EventBus
from banger.service.failpoints import Failpoints
from banger.settings import Settings
from banger.store.database import open_database
from banger.store.images import Images
from banger.store.operations import Operations
from banger.store.resources import Resources
from banger.store.vms import VMs

_log = logging.getLogger(__name__)
#: The user that VMMs run as when the daemon is root (Debian's fixed ids of nobody and nogroup).
_NOBODY = (65534, 65534)


def build(paths: Paths, settings: Settings, stopping: asyncio.Event) -> Assembly:
    """Everything of one daemon, ready to be started. Opens the database, and nothing else."""
    uid = os.geteuid()
    boot_id = process.boot_id()
    database, warning = open_database(paths.database)
    if warning:
        _log.error("%s", warning)
    selection = Selection(paths, settings)
    vmms = {vmm.name: vmm for vmm in (qemu(selection), firecracker(paths.firecracker))}
    context = Context(
        uid=uid,
        boot_id=boot_id,
        paths=paths,
        settings=settings,
        drivers=drivers(paths, settings, uid, selection, vmms),
        database=database,
        vms=VMs(database),
        images=Images(database),
        operations=Operations(database),
        resources=Resources(database),
        events=EventBus(),
        failpoints=Failpoints(settings.failpoints),
    )
    facts = DaemonFacts(
        version=__version__,
        build=build_id(),
        pid=os.getpid(),
        uid=uid,
        socket=str(paths.socket),
        database=str(paths.database),
        log=str(paths.daemon_log),
        started_at=time.time(),
        boot_id=boot_id,
    )
    told = functools.partial(selection.facts, functools.partial(version, vmms))
    keeper = LogKeeper(paths.vms, paths.socket, process_name(uid, ""))
    return Assembly(context, facts, told, stopping, keeper.start)


async def version(vmms: Mapping[str, LateVMM], name: str) -> str:
    """The version of a VMM as it is installed."""
    return (await vmms[name].settled()).capabilities().version


def drivers(
    paths: Paths, settings: Settings, uid: int, selection: Selection, vmms: Mapping[str, VMM]
) -> Drivers:
    """Every driver by its name."""
    free = settings.min_free_bytes
    run_as = _NOBODY if uid == 0 else None
    snapshots = DmSnapshot(free, Privilege(), uid)
    stores = (snapshots, Qcow2(free), Reflink(free), Copy(free))
    nameservers = settings.nameservers or host_nameservers()
    run_as = _NOBODY if uid == 0 else None
    networks = (
        Tap(Privilege(), settings.network_pool, uid, nameservers, owner=run_as and run_as[0]),
        User(uid),
    )
    return Drivers(
        vmms=vmms,
        stores={store.name: store for store in stores},
        networks={network.name: network for network in networks},
        work_disk=WorkDisks(free),
        builder=DebianBuilder(build_initrd),
        importer=ArchiveImporter(run_as),
        guest=LinuxGuest(),
        names=MapdnsNames(
            Records(paths.dns_records), functools.partial(resolver, settings, uid), uid
        ),
        choose=selection.choose,
        run_as=run_as,
    )


def resolver(settings: Settings, uid: int) -> ResolverWiring:
    """How the host's own programs learn the names of VMs."""
    chosen = wiring_of_host(settings.names, uid)
    match chosen.name:
        case "resolved":
            return Resolved(Privilege(), uid)
        case "hosts":
            return HostsFile(Privilege(), uid)
        case _:
            return Unwired("" if settings.names == "off" else chosen.reason)


def qemu(selection: Selection) -> LateVMM:
    """QEMU, which learns its version and accelerator when a VM is launched."""
    known: dict[str, QemuVMM] = {}

    async def probe() -> VMM:
        accelerator: Accelerator = "kvm" if await selection.accelerator() == "kvm" else "tcg"
        if accelerator not in known:
            known[accelerator] = await QemuVMM.on_this_host(accelerator)
        return known[accelerator]

    architecture = of_host()
    unprobed = QemuVMM(
        executable=Path("/usr/bin", architecture.emulator),
        version="",
        accelerator="tcg",
        architecture=architecture,
    )
    return LateVMM(unprobed, probe)


def firecracker(folder: Path) -> LateVMM:
    """Firecracker, which is looked for and verified when a VM is launched, and when it changes."""
    known: dict[object, FirecrackerVMM] = {}
    # Many first starts at once verify it once.
    verifying = asyncio.Lock()

    async def probe() -> VMM:
        async with verifying:
            return await verified()

    async def verified() -> VMM:
        stamp = stamp_of(folder)
        if stamp not in known:
            found = await in_thread(lambda _: find_firecracker(folder))
            version = parse_version(found.version)
            known.clear()
            known[stamp] = FirecrackerVMM(
                executable=found.path,
                version=version,
                jailer=Path(found.jailer) if found.jailer else None,
            )
        return known[stamp]

    unprobed = FirecrackerVMM(executable=likely_firecracker(folder), version=Version(0, 0, 0))
    return LateVMM(unprobed, probe)
