"""Turns what was asked for into a spec with every ``auto`` resolved, or refuses it."""

from __future__ import annotations

from pathlib import Path

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
from banger.service.context import Choice, Drivers
from banger.service.requests import CreateRequest

PROFILES = ("standard", "fast")
#: Magic numbers: ext2/3/4 super block (offset 1080), ELF, and the bzImage header (offset 514).
_EXT_MAGIC = (1080, b"\x53\xef")
_ELF_MAGIC = (0, b"\x7fELF")
_BZIMAGE_MAGIC = (514, b"HdrS")
_CPIO_AND_COMPRESSED = (
    (0, b"070701"),
    (0, b"070702"),
    (0, b"\x1f\x8b"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"\x02\x21\x4c\x18"),
    (0, b"\xfd7zXZ"),
    (0, b"BZh"),
    (0, b"\x5d\x00\x00"),
)


def resolve(
    request: CreateRequest, image: Image | None, choice: Choice, drivers: Drivers
) -> VMSpec:
    """The spec of a new VM. Raises ``InvalidInput`` naming the option."""
    check_sizes(request)
    if request.rootfs:
        check_file("root file system", request.rootfs, (_EXT_MAGIC,), "an ext4 file system")
    if request.kernel:
        check_file("kernel", request.kernel, (_ELF_MAGIC, _BZIMAGE_MAGIC), "an ELF or bzImage")
    if request.initrd:
        check_file("initrd", request.initrd, _CPIO_AND_COMPRESSED, "a cpio archive")
    vmm = _chosen("vmm", request.vmm, choice.vmm, tuple(drivers.vmms))
    network = _chosen("network", request.network, choice.network, tuple(drivers.networks))
    able = drivers.vmms[vmm].capabilities()
    raw = choice.storage if able.qcow2 or choice.storage != "qcow2" else choice.raw_storage
    storage = _chosen("storage", request.storage, raw, tuple(drivers.stores))
    if storage == "qcow2" and not able.qcow2:
        raise _cannot(vmm, "use qcow2 files", "create it with another --storage")
    if network == "user" and not able.user_network:
        raise _cannot(vmm, "connect a VM without root", "run banger as root, for --network tap")
    if request.jail and not able.jail:
        raise InvalidInput(
            f"the VMM {vmm} cannot run in a jail",
            cause="--jail is for VMMs that come with a jailer",
            resolution="create it with --vmm firecracker --jail, or without --jail",
        )
    profile = _chosen("profile", request.profile, "fast", PROFILES)
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
        vmm=vmm,
        storage=storage,
        network=network,
        profile=profile,
        reach=Reach(
            # A network that cannot keep its guests from the internet is said to be open.
            internet=request.nat or not drivers.networks[network].closed,
            isolated=request.isolated,
            host=request.host_access,
        ),
        jail=request.jail,
    )


def check_sizes(asked: CreateRequest | VMSpec) -> None:
    """Raises ``InvalidInput`` unless memory, vCPUs and disks are such as a VM can have."""
    _within("vcpus", asked.vcpus, 1, MAX_VCPUS, "")
    _within("memory", asked.memory_mib, MIN_MEMORY_MIB, MAX_MEMORY_MIB, " MiB")
    _within("overlay size", asked.overlay_bytes, MIN_DISK_BYTES, MAX_DISK_BYTES, " bytes")
    if asked.work_disk_bytes:
        _within("disk size", asked.work_disk_bytes, MIN_DISK_BYTES, MAX_DISK_BYTES, " bytes")


def _cannot(vmm: str, what: str, cure: str) -> InvalidInput:
    return InvalidInput(
        f"the VMM {vmm} cannot {what}",
        cause="the VM was asked for in a way that this VMM has no means for",
        resolution=f"{cure}; or create it with --vmm qemu",
    )


def check_file(what: str, path: str, magics: tuple[tuple[int, bytes], ...], kind: str) -> None:
    """Raises ``InvalidInput`` unless ``path`` is an absolute, readable file of that kind."""
    resolution = "give the absolute path of an existing file"
    brief = f"the {what} {path!r:.200} cannot be used"
    if not path.startswith("/"):
        raise InvalidInput(brief, cause="the path is not absolute", resolution=resolution)
    file = Path(path)
    try:
        if not file.is_file():
            cause = "it is no regular file" if file.exists() else "there is no such file"
            raise InvalidInput(brief, cause=cause, resolution=resolution)
        with file.open("rb") as opened:
            head = opened.read(2048)
    except (OSError, ValueError) as error:
        raise InvalidInput(brief, cause=str(error), resolution=resolution) from error
    if not any(head[offset : offset + len(magic)] == magic for offset, magic in magics):
        raise InvalidInput(brief, cause=f"it is not {kind}", resolution=f"file {path}")


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
