"""Turns what was asked for into a spec with every ``auto`` resolved, or refuses it."""

from __future__ import annotations

from banger.errors import InvalidInput
from banger.model.image import Image
from banger.model.network import Reach
from banger.model.vm import (
    MAX_DISK_BYTES,
    MAX_MEMORY_MIB,
    MAX_VCPUS,
    MIN_DISK_BYTES,
    MIN_MEMORY_MIB,
    VMSpec,
)
from banger.service import own_files
from banger.service.boot_files import takes_layer
from banger.service.context import Choice, Drivers
from banger.service.requests import CreateRequest

PROFILES = ("standard", "fast")


def resolve(
    request: CreateRequest, image: Image | None, choice: Choice, drivers: Drivers
) -> VMSpec:
    """The spec of a new VM. Raises ``InvalidInput`` naming the option."""
    check_sizes(request)
    own_files.check(request, drivers.guest)
    vmm = _chosen("vmm", request.vmm, _suiting(request, choice.vmm, drivers), tuple(drivers.vmms))
    network = _chosen("network", request.network, choice.network, tuple(drivers.networks))
    able = drivers.vmms[vmm].capabilities()
    raw = choice.storage if able.qcow2 or choice.storage != "qcow2" else choice.raw_storage
    layer = takes_layer(request, drivers.guest)
    if layer and raw == "qcow2":
        raw = choice.raw_storage  # the host can write files into a raw drive only
    storage = _chosen("storage", request.storage, raw, tuple(drivers.stores))
    if storage == "qcow2" and not able.qcow2:
        raise _cannot(vmm, "use qcow2 files", "create it with another --storage")
    if storage == "qcow2" and layer:
        raise InvalidInput(
            "a qcow2 drive cannot be used with a kernel and an initrd of one's own",
            cause="what the guest must know is written into its drive, which must be raw for it",
            resolution="create it without --storage, or with --storage copy",
        )
    if network == "user" and not able.user_network:
        raise _cannot(vmm, "connect a VM without root", "run banger as root, for --network tap")
    if request.jail and not able.jail:
        raise InvalidInput(
            f"the VMM {vmm} cannot run in a jail",
            cause="--jail is for VMMs that come with a jailer",
            resolution="create it with --vmm firecracker --jail, or without --jail",
        )
    profile = _chosen("profile", request.profile, "standard" if layer else "fast", PROFILES)
    return VMSpec(
        vcpus=request.vcpus,
        memory_mib=request.memory_mib,
        overlay_bytes=request.overlay_bytes,
        work_disk_bytes=request.work_disk_bytes,
        image_id=image.id if image else "",
        image_name=image.name if image else "",
        rootfs=request.rootfs,
        kernel=request.kernel,
        initrd=request.initrd,
        modules=request.modules,
        vmm=vmm,
        storage=storage,
        network=network,
        profile=profile,
        reach=Reach(
            # A network that cannot keep its guests from the internet is said to be open.
            internet=request.nat or not drivers.networks[network].closed,
            isolated=request.isolated,
            host=request.host_access,
            forwards=tuple(sorted(set(request.forwards))),
        ),
        jail=request.jail,
        restart=request.restart,
    )


def check_sizes(asked: CreateRequest | VMSpec) -> None:
    """Raises ``InvalidInput`` unless memory, vCPUs and disks are such as a VM can have."""
    _within("vcpus", asked.vcpus, 1, MAX_VCPUS, "")
    _within("memory", asked.memory_mib, MIN_MEMORY_MIB, MAX_MEMORY_MIB, " MiB")
    _within("overlay size", asked.overlay_bytes, MIN_DISK_BYTES, MAX_DISK_BYTES, " bytes")
    if asked.work_disk_bytes:
        _within("disk size", asked.work_disk_bytes, MIN_DISK_BYTES, MAX_DISK_BYTES, " bytes")


def _suiting(request: CreateRequest, automatic: str, drivers: Drivers) -> str:
    """The VMM that ``auto`` means; one that can do what was asked for by name comes before it."""
    for name in (automatic, *drivers.vmms):
        able = drivers.vmms[name].capabilities() if name in drivers.vmms else None
        if able is None or (request.storage == "qcow2" and not able.qcow2):
            continue
        if request.network != "user" or able.user_network:
            return name
    return automatic


def _cannot(vmm: str, what: str, cure: str) -> InvalidInput:
    return InvalidInput(
        f"the VMM {vmm} cannot {what}",
        cause="the VM was asked for in a way that this VMM has no means for",
        resolution=f"{cure}; or create it with --vmm qemu",
    )


def _within(what: str, value: int, low: int, high: int, unit: str) -> None:
    if not low <= value <= high:
        raise InvalidInput(
            f"the {what} {value}{unit} is out of range",
            cause=f"it must lie between {low} and {high}{unit}",
            resolution="banger create --help",
        )


def _chosen(what: str, asked: str, automatic: str, available: tuple[str, ...]) -> str:
    name = automatic if asked == "auto" else asked
    if name not in available:
        raise InvalidInput(
            f"the {what} {asked!r:.40} cannot be used here",
            cause=f"available: {', '.join(available)}",
            resolution="banger doctor",
        )
    return name
