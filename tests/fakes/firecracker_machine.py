"""What a Firecracker 1.12 accepts, refuses and becomes, without a guest: the fake's inside.

Its words are those of the real one as ``tests/contract/test_firecracker_api.py`` finds them.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Document = dict[str, object]
MAX_DEVICES, LINE_LIMIT, LINE_PER_DEVICE = 18, 2047, 33


class Fault(Exception):
    """A refusal with its ``fault_message``."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a body: its JSON type, whether it must be there, and its bounds."""

    kind: type
    required: bool = False
    most: int = 1 << 64
    variants: tuple[str, ...] = ()


#: Bodies by endpoint; the first part of the path is the key.
FIELDS: dict[str, dict[str, Field]] = {
    "machine-config": {
        "vcpu_count": Field(int, True, 255),
        "mem_size_mib": Field(int, True),
        "smt": Field(bool),
        "track_dirty_pages": Field(bool),
        "huge_pages": Field(str, variants=("None", "2M")),
    },
    "boot-source": {
        "kernel_image_path": Field(str, True),
        "initrd_path": Field(str),
        "boot_args": Field(str),
    },
    "drives": {
        "drive_id": Field(str, True),
        "is_root_device": Field(bool, True),
        "path_on_host": Field(str),
        "is_read_only": Field(bool),
        "cache_type": Field(str, variants=("Unsafe", "Writeback")),
    },
    "network-interfaces": {
        "iface_id": Field(str, True),
        "host_dev_name": Field(str, True),
        "guest_mac": Field(str),
    },
    "vsock": {"guest_cid": Field(int, True, 0xFFFFFFFF), "uds_path": Field(str, True)},
    "entropy": {},
    "metrics": {"metrics_path": Field(str, True)},
    "logger": {"level": Field(str), "log_path": Field(str)},
    "actions": {
        "action_type": Field(
            str, True, variants=("FlushMetrics", "InstanceStart", "SendCtrlAltDel")
        )
    },
    "vm": {"state": Field(str, True, variants=("Paused", "Resumed"))},
}
BEFORE = {"machine-config", "boot-source", "drives", "network-interfaces", "vsock", "entropy"}
BEFORE |= {"metrics", "logger"}


def checked(endpoint: str, body: Document, *, partial: bool = False) -> Document:
    """The body, or a fault in the words of Firecracker's parser."""
    fields = FIELDS[endpoint]
    for name, value in body.items():
        if name not in fields:
            known = ", ".join(f"`{known}`" for known in fields)
            raise _unreadable(f"unknown field `{name}`, expected one of {known}")
        _check(fields[name], value)
    for name, wanted in fields.items():
        if wanted.required and not partial and name not in body:
            raise _unreadable(f"missing field `{name}`")
    return body


def _check(wanted: Field, value: object) -> None:
    if type(value) is not wanted.kind:
        raise _unreadable(f'invalid type: "{value}", expected {wanted.kind.__name__}')
    if isinstance(value, int) and not 0 <= value <= wanted.most:
        raise _unreadable(
            f"invalid value: integer `{value}`, expected {'u8' if wanted.most == 255 else 'usize'}"
        )
    if wanted.variants and value not in wanted.variants:
        known = " or ".join(f"`{known}`" for known in wanted.variants)
        raise _unreadable(f"unknown variant `{value}`, expected {known}")


def _unreadable(what: str) -> Fault:
    return Fault(
        f"An error occurred when deserializing the json body of a request: {what} at line 1"
        " column 1."
    )


@dataclass
class Machine:
    """The state of one fake Firecracker; ``folder`` is its current one."""

    folder: Path
    vm_id: str = "banger-0-0123456789ab"
    state: str = "Not started"
    config: Document = field(default_factory=lambda: {"vcpu_count": 1, "mem_size_mib": 128})
    kernel: str = ""
    line: str = ""
    drives: dict[str, Document] = field(default_factory=dict)
    interfaces: dict[str, Document] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    metrics: str = ""
    sockets: list[socket.socket] = field(default_factory=list)

    def handle(self, method: str, path: str, body: Document | None) -> Document:
        """The reply to a call; ``Fault`` if it is refused."""
        endpoint, _, name = path.strip("/").partition("/")
        match method, endpoint:
            case "GET", "":
                facts: Document = {"id": self.vm_id, "state": self.state}
                return {**facts, "vmm_version": "1.12.1", "app_name": "Firecracker"}
            case "GET", "version":
                return {"firecracker_version": "1.12.1"}
            case "GET", "machine-config":
                return {"smt": False, "track_dirty_pages": False, **self.config}
            case ("PUT", _) if endpoint in FIELDS and endpoint != "vm":
                self._put(endpoint, name, checked(endpoint, body or {}))
            case "PATCH", "vm":
                self._need(started=True, body=checked(endpoint, body or {}))
                self.state = "Paused" if (body or {})["state"] == "Paused" else "Running"
            case "PATCH", "drives":
                self._need(started=True, body=checked(endpoint, body or {}, partial=True))
            case _:
                raise Fault(f"Invalid request method and/or path: {method} {path.strip('/')}.")
        return {}

    def _need(self, *, started: bool, body: Document) -> None:
        del body  # it was read before the phase is looked at
        if started != (self.state != "Not started"):
            when = "before" if started else "after"
            raise Fault(f"The requested operation is not supported {when} starting the microVM.")

    def _put(self, endpoint: str, name: str, body: Document) -> None:
        if endpoint in ("drives", "network-interfaces"):
            own = body["drive_id" if endpoint == "drives" else "iface_id"]
            if not re.fullmatch(r"\w+", name, re.ASCII):
                raise Fault(
                    "API Resource IDs can only contain alphanumeric characters and underscores."
                )
            if own != name:
                raise Fault("The id from the path does not match the id from the body!")
            if not re.fullmatch(
                r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}",
                str(body.get("guest_mac", "02" + ":00" * 5)),
            ):
                raise _unreadable("The provided MAC address is invalid.")
        if endpoint == "logger" and str(body.get("level", "info")).lower() not in (
            *("off", "trace", "debug", "info", "warning", "error"),
        ):
            raise _unreadable("Invalid LevelFilter")
        if endpoint in BEFORE:
            self._need(started=False, body=body)
        puts: dict[str, Callable[[Document], None]] = {
            "machine-config": self._machine,
            "boot-source": self._boot_source,
            "drives": self._drive,
            "network-interfaces": self._interface,
            "vsock": self._vsock,
            "metrics": self._metrics,
            "actions": self._action,
        }
        put = puts.get(endpoint)
        if put is None:
            self.others.add(endpoint)
        else:
            put(body)

    def _machine(self, body: Document) -> None:
        vcpus = int(str(body["vcpu_count"]))
        if not 1 <= vcpus <= 32 or (body.get("smt") and vcpus > 1 and vcpus % 2):
            raise Fault(
                "Machine config error: The number of vCPUs must be greater than 0, less than 32"
                " and must be 1 or an even number if SMT is enabled."
            )
        if not body["mem_size_mib"]:
            raise Fault(
                "Machine config error: The memory size (MiB) is either 0, or not a multiple of the"
                " configured page size."
            )
        self.config = body

    def _boot_source(self, body: Document) -> None:
        for name in ("kernel_image_path", "initrd_path"):
            if name in body and not (self.folder / str(body[name])).exists():
                raise Fault(
                    f"Boot source error: The {name.split('_')[0]} file cannot be opened: No such"
                    " file or directory (os error 2)"
                )
        line = str(body.get("boot_args", ""))
        if len(line) > LINE_LIMIT:
            raise Fault("Boot source error: The kernel command line is invalid: command line long")
        self.kernel, self.line = str(body["kernel_image_path"]), line

    def _drive(self, body: Document) -> None:
        own = str(body["drive_id"])
        others = [drive for name, drive in self.drives.items() if name != own]
        if body["is_root_device"] and any(drive["is_root_device"] for drive in others):
            raise Fault("Drive config error: A root block device already exists!")
        if not (self.folder / str(body.get("path_on_host", ""))).is_file():
            raise Fault(
                "Drive config error: Unable to create the virtio block device: Virtio backend"
                " error: Error manipulating the backing file: No such file or directory (os error"
                f" 2) {body.get('path_on_host')}"
            )
        self.drives[own] = body

    def _interface(self, body: Document) -> None:
        reason = "No such device (os error 19)"
        if len(str(body["host_dev_name"])) > 15:
            reason = "Invalid interface name"
        elif body["host_dev_name"] == "bgrfake":
            self.interfaces[str(body["iface_id"])] = body
            return
        raise Fault(
            "Network config error: Could not create the network device: Open tap device failed:"
            f" {reason}"
        )

    def _vsock(self, body: Document) -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            server.bind(str(self.folder / str(body["uds_path"])))
        except OSError:
            server.close()
            raise Fault(
                "Vsock config error: Cannot create backend for vsock device: Error binding to the"
                " host-side Unix socket: Address in use (os error 98)"
            ) from None
        self.sockets.append(server)
        self.others.add("vsock")

    def _metrics(self, body: Document) -> None:
        if self.metrics:
            raise Fault(
                "Metrics error: Cannot initialize the metrics system due to bad user input:"
                " Reinitialization of metrics not allowed."
            )
        self.metrics = str(body["metrics_path"])

    def _action(self, body: Document) -> None:
        match body["action_type"]:
            case "FlushMetrics":
                if self.metrics:
                    with (self.folder / self.metrics).open("a") as file:
                        file.write(json.dumps({"vcpu": {"failures": 0}}) + "\n")
            case "SendCtrlAltDel":
                self._need(started=True, body=body)
            case _:
                self._need(started=False, body=body)
                self._start()

    def _start(self) -> None:
        devices = len(self.drives) + len(self.interfaces) + len(self.others - {"logger"})
        reason = ""
        if not self.kernel:
            reason = "Cannot start microvm without kernel configuration."
        elif (self.folder / self.kernel).read_bytes()[:4] != b"\x7fELF":
            reason = "Cannot load kernel due to invalid memory configuration or invalid kernel"
            reason += " image: Kernel Loader: failed to load ELF kernel image: Invalid Elf magic"
        elif len(self.line) + devices * LINE_PER_DEVICE > LINE_LIMIT:
            reason = "cmdline: Inserting string would make command line too long."
        elif devices > MAX_DEVICES:
            reason = "Error creating VMGenID device: The requested resource is not available."
        if reason:
            raise Fault(f"Start microvm error: {reason}")
        self.state = "Running"
        if self.metrics:
            self._action({"action_type": "FlushMetrics"})
