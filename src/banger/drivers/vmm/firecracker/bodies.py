"""BootSpec -> the requests that Firecracker's API gets, in order: typed bodies (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from banger.drivers.vmm.base import BootSpec
from banger.drivers.vmm.firecracker.version import Version
from banger.errors import InvalidInput

Method = Literal["GET", "PUT", "PATCH"]

#: Names in Firecracker's own folder, which is its current one: relative, so that a saved VM
#: can be loaded from another folder.
KERNEL, INITRD, METRICS, VSOCK = "kernel", "initrd", "metrics", "vsock.sock"
#: Firecracker's own limit for virtual CPUs.
MAX_VCPUS = 32
#: What the machine demands of any Linux guest, before the profile's own arguments.
#: Firecracker's default line would forbid modules and hide the console.
KERNEL_ARGUMENTS = (
    "console=ttyS0",
    "reboot=k",
    "panic=-1",
    "pci=off",
    # The keyboard stays for Ctrl-Alt-Del; what else the controller could have is not probed.
    "i8042.noaux",
    "i8042.nomux",
    "i8042.dumbkbd",
    "clocksource=kvm-clock",
    # Our init loads the driver of the vsock, and the agent listens there.
    "banger.vsock=1",
)
#: The kernel's command line holds 2048 bytes with the final zero, and Firecracker adds
#: `` virtio_mmio.device=4K@0xADDRESS:IRQ`` for each device.
_LINE_LIMIT, _LINE_PER_DEVICE = 2047, 40
_ID = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
#: The guest's end of its vsock. Every Firecracker has a bus of its own, so one number does.
_GUEST_CID = 3


class MachineConfig(Struct, frozen=True):
    """``PUT /machine-config``. ``mem_size_mib`` in MiB; the host's memory is not checked."""

    vcpu_count: int
    mem_size_mib: int
    smt: bool = False
    track_dirty_pages: bool = False


class BootSource(Struct, frozen=True):
    """``PUT /boot-source``. The files are opened now, and understood only at the start."""

    kernel_image_path: str
    boot_args: str
    initrd_path: str | None = None


class DriveBody(Struct, frozen=True):
    """``PUT /drives/{drive_id}``."""

    drive_id: str
    path_on_host: str
    is_read_only: bool
    #: False for every drive: Firecracker then adds nothing to the kernel's command line, and
    #: drives appear in the order in which they were put.
    is_root_device: bool = False
    #: Honours the guest's flushes.
    cache_type: str = "Writeback"


class InterfaceBody(Struct, frozen=True):
    """``PUT /network-interfaces/{iface_id}``. The TAP is opened now."""

    iface_id: str
    host_dev_name: str
    guest_mac: str


class Vsock(Struct, frozen=True):
    """``PUT /vsock``. The socket is bound now, and never removed by Firecracker."""

    guest_cid: int
    uds_path: str


class Entropy(Struct, frozen=True):
    """``PUT /entropy``: a virtio-rng without a limit."""


class Metrics(Struct, frozen=True):
    """``PUT /metrics``, once. Each line holds what was counted since the line before."""

    metrics_path: str


class Logger(Struct, frozen=True):
    """``PUT /logger``, before the start."""

    level: str
    log_path: str | None = None


class Action(Struct, frozen=True):
    """``PUT /actions``."""

    action_type: Literal["InstanceStart", "FlushMetrics", "SendCtrlAltDel"]


class VMStateBody(Struct, frozen=True):
    """``PATCH /vm``, after the start; asking for the state that is there is fine."""

    state: Literal["Paused", "Resumed"]


class Request(Struct, frozen=True):
    """One call of the API."""

    method: Method
    path: str
    body: Struct | None = None

    def document(self) -> dict[str, object] | None:
        """The body as JSON-ready data: absent fields are left out, never null."""
        if self.body is None:
            return None
        values: dict[str, object] = msgspec.to_builtins(self.body)
        return {name: value for name, value in values.items() if value is not None}


GET_INFO = Request("GET", "/")
GET_VERSION = Request("GET", "/version")
START = Request("PUT", "/actions", Action("InstanceStart"))
FLUSH_METRICS = Request("PUT", "/actions", Action("FlushMetrics"))
CTRL_ALT_DEL = Request("PUT", "/actions", Action("SendCtrlAltDel"))
PAUSE = Request("PATCH", "/vm", VMStateBody("Paused"))
RESUME = Request("PATCH", "/vm", VMStateBody("Resumed"))


def requests(spec: BootSpec, version: Version) -> tuple[Request, ...]:
    """Everything to be sent before ``START``. Raises ``InvalidInput`` for what cannot be had.

    The files stand in Firecracker's folder under the names above and ``drive_name``.
    """
    if not 1 <= spec.vcpus <= MAX_VCPUS:
        raise InvalidInput(
            f"Firecracker cannot give a VM {spec.vcpus} CPUs",
            cause=f"it allows 1 to {MAX_VCPUS}",
            resolution="choose fewer with --cpus",
        )
    made = tuple(_requests(spec))
    devices = sum(
        request.path not in ("/machine-config", "/boot-source", "/metrics") for request in made
    )
    if devices > version.max_devices:
        raise InvalidInput(
            f"Firecracker cannot give a VM {devices} devices",
            cause=f"version {version} allows {version.max_devices}",
            resolution="attach fewer drives",
        )
    length = len(kernel_line(spec).encode()) + devices * _LINE_PER_DEVICE
    if length > _LINE_LIMIT:
        raise InvalidInput(
            "the kernel arguments are too long",
            cause=f"{length} bytes with the devices, and {_LINE_LIMIT} fit",
            resolution="give fewer",
        )
    return made


def _requests(spec: BootSpec) -> Iterator[Request]:
    yield Request("PUT", "/metrics", Metrics(METRICS))
    yield Request("PUT", "/machine-config", MachineConfig(spec.vcpus, spec.memory_mib))
    initrd = INITRD if spec.initrd is not None else None
    yield Request("PUT", "/boot-source", BootSource(KERNEL, kernel_line(spec), initrd))
    for drive in spec.drives:
        if drive.format != "raw":
            raise InvalidInput(
                f"Firecracker cannot use a {drive.format} drive",
                cause="it knows raw files and block devices only",
                resolution="create the VM with another --storage, or with --vmm qemu",
            )
        body = DriveBody(_checked(drive.id), drive_name(drive.id), drive.read_only)
        yield Request("PUT", f"/drives/{drive.id}", body)
    if spec.network.tap:
        interface = InterfaceBody("eth0", spec.network.tap, spec.network.mac)
        yield Request("PUT", "/network-interfaces/eth0", interface)
    elif spec.network.ssh_port:
        raise InvalidInput(
            "Firecracker has no user-mode network",
            cause="its only interface is a TAP, which root makes",
            resolution="create the VM with --network tap, or with --vmm qemu",
        )
    yield Request("PUT", "/vsock", Vsock(_GUEST_CID, VSOCK))
    yield Request("PUT", "/entropy", Entropy())


def configuration(made: Iterable[Request]) -> dict[str, object]:
    """What ``made`` tells, in the form of Firecracker's ``--config-file``: one key for each
    resource, a list where there may be several."""
    config: dict[str, object] = {}
    for request in made:
        resource, _, name = request.path.strip("/").partition("/")
        if not name:
            config[resource] = request.document()
        else:
            several = config.setdefault(resource, [])
            if isinstance(several, list):
                several.append(request.document())
    return config


def kernel_line(spec: BootSpec) -> str:
    """The kernel's command line. Raises ``InvalidInput`` for control characters in it."""
    line = " ".join((*KERNEL_ARGUMENTS, *spec.arguments))
    if not line.isprintable():
        raise InvalidInput(
            "the kernel arguments hold a control character",
            cause=repr(line),
            resolution="remove it",
        )
    return line


def drive_name(drive_id: str) -> str:
    """The name under which Firecracker opens a drive."""
    return f"drive_{drive_id}"


def _checked(drive_id: str) -> str:
    if not _ID.match(drive_id):
        raise InvalidInput(
            f"the drive id {drive_id!r} is not allowed", cause="it may hold A-Z, a-z, 0-9 and _"
        )
    return drive_id
