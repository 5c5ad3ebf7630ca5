"""What clients send, with every limit that they can know beforehand."""

from __future__ import annotations

from typing import Annotated, Literal

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
    r"^[ \t]*([a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9]+)?)?[ \t]*"
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
VCPUs = Annotated[int, Meta(ge=1, le=MAX_VCPUS)]
Memory = Annotated[int, Meta(ge=MIN_MEMORY_MIB, le=MAX_MEMORY_MIB, description="MiB")]
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
ImageSize = Annotated[int, Meta(ge=GIB, le=MAX_DISK_BYTES, description="bytes")]
PackageLines = Annotated[
    list[Annotated[str, Meta(pattern=_PACKAGE_LINE, max_length=1024)]],
    Meta(min_length=1, max_length=10000, description="the lines of a package list"),
]
Restart = Literal["no", "always"]
Text = Annotated[str, Meta(pattern=_NO_ZERO, max_length=131071)]


Port = Annotated[int, Meta(ge=1, le=65535)]
#: More ports than anybody publishes by hand, few enough for every request to be small.
_MAX_FORWARDS = 256


class Forward(Struct, forbid_unknown_fields=True, kw_only=True):
    """A port of the host that leads to one of the guest."""

    host_port: Port
    guest_port: Port
    protocol: Literal["tcp", "udp"] = "tcp"


class CreateVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """A VM to be made. What is absent takes the default."""

    name: NameOrNone = ""
    image: NameOrNone = ""
    vcpus: VCPUs = DEFAULT_VCPUS
    memory_mib: Memory = DEFAULT_MEMORY_MIB
    overlay_bytes: DiskSize = DEFAULT_OVERLAY_BYTES
    work_disk_bytes: WorkDiskSize = 0
    rootfs: Path = ""
    kernel: Path = ""
    initrd: Path = ""
    modules: Path = ""
    vmm: Annotated[str, Meta(pattern="^[a-z0-9]{1,32}$", description="auto, or a driver")] = "auto"
    storage: Literal["auto", "dm_snapshot", "qcow2", "reflink", "copy"] = "auto"
    network: Literal["auto", "tap", "user"] = "auto"
    profile: Literal["auto", "standard", "fast"] = "auto"
    nat: bool = False
    isolated: bool = False
    host_access: bool = False
    jail: bool = False
    restart: Restart = "no"
    forwards: Annotated[list[Forward], Meta(max_length=_MAX_FORWARDS)] = []


class RenameVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """The new name of a VM."""

    name: Name


class SetVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """What shall change of a VM; disks only grow. What is absent or null stays."""

    vcpus: VCPUs | None = None
    memory_mib: Memory | None = None
    overlay_bytes: DiskSize | None = None
    work_disk_bytes: DiskSize | None = None
    restart: Restart | None = None


class CloneVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """The name of the copy."""

    name: Name


class RebuildVM(Struct, forbid_unknown_fields=True, kw_only=True):
    """The image of the new root file system; absent: what the VM was made of."""

    image: NameOrNone = ""


class SetNat(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whether a VM reaches the internet."""

    up: bool


class PublishPort(Struct, forbid_unknown_fields=True, kw_only=True):
    """A port of the host that leads to one of the guest; ``remove`` takes it back."""

    host_port: Port
    guest_port: Port
    protocol: Literal["tcp", "udp"] = "tcp"
    remove: bool = False


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
    """An image to be built. Without ``packages`` the user's or the shipped list is taken.

    ``docker``: with Docker in it; null: as an image of the name was built before, else if the
    name is ``docker-debian``.
    """

    name: Name = DEFAULT_IMAGE
    suite: Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,31}$")] = DEFAULT_SUITE
    packages: PackageLines | None = None
    size_bytes: ImageSize = 8 * GIB
    docker: bool | None = None
    rebuild: bool = False


OwnPath = Annotated[
    str, Meta(pattern=r"^/[^\x00]*$", max_length=4095, description="absolute path on the host")
]


class RegisterImage(Struct, forbid_unknown_fields=True, kw_only=True):
    """Files of the user's own that are copied to become an image."""

    name: Name
    rootfs: OwnPath
    kernel: OwnPath
    initrd: Path = ""
    modules: Path = ""


class ImportImage(Struct, forbid_unknown_fields=True, kw_only=True):
    """An archive or OCI layout folder that becomes an image.

    It gets kernel, initrd and modules of the default image, unless ``kernel`` is given.
    """

    name: Name
    archive: OwnPath
    size_bytes: Annotated[int, Meta(ge=GIB, le=MAX_DISK_BYTES, description="bytes")] = 8 * GIB
    kernel: Path = ""
    initrd: Path = ""
    modules: Path = ""


class CustomizeImage(Struct, forbid_unknown_fields=True, kw_only=True):
    """A changed copy of ``base``: an image by name or id, or an ext4 file by absolute path.

    What is absent stays as the base has it. ``name``: ``docker-`` and the base's, if absent.
    """

    base: Annotated[str, Meta(min_length=1, max_length=4095, pattern=_NO_ZERO)]
    name: NameOrNone = ""
    size_bytes: ImageSize | None = None
    packages: PackageLines | None = None
    docker: bool = False
    kernel: Path = ""
    initrd: Path = ""
    modules: Path = ""


class KeepImage(Struct, forbid_unknown_fields=True, kw_only=True):
    """The stopped VM, by name or id, whose root file system becomes the image ``name``."""

    vm: Annotated[str, Meta(min_length=1, max_length=64, pattern=_NO_ZERO)]
    name: Name


class RenameImage(Struct, forbid_unknown_fields=True, kw_only=True):
    """The new name of an image."""

    name: Name


class ExecStart(Struct, forbid_unknown_fields=True, kw_only=True):
    """The first control message of an exec stream. ``cwd`` is /root if empty."""

    argv: Annotated[list[Text], Meta(min_length=1, max_length=4096)]
    env: dict[Annotated[str, Meta(pattern=r"^[^\x00=]+$", max_length=4096)], Text] = {}
    cwd: Path = ""


class ExecSignal(Struct, forbid_unknown_fields=True, kw_only=True):
    """A later control message: send the signal to the command."""

    signal: Annotated[int, Meta(ge=1, le=64)]
