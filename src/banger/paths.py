"""Given the XDG roots, names every file that banger ever creates.

See ``docs/state-layout.md``. Nothing here touches the file system.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from banger.errors import InvalidInput

#: ``sun_path`` holds 108 bytes including the final zero (unix(7)).
SOCKET_PATH_LIMIT = 107


class Paths:
    """The five XDG folders of banger and the files in them."""

    __slots__ = ("cache", "config", "data", "runtime", "state")

    def __init__(self, *, state: Path, data: Path, cache: Path, config: Path, runtime: Path):
        self.state = state
        self.data = data
        self.cache = cache
        self.config = config
        self.runtime = runtime

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], uid: int) -> Paths:
        """Apply the XDG base directory rules; relative values are ignored as they demand."""
        home = Path(environ.get("HOME") or "/")

        def root(variable: str, default: Path) -> Path:
            value = environ.get(variable, "")
            return Path(value) if value.startswith("/") else default

        # Without a login session there is no runtime folder: root has /run, others get a
        # private folder that the daemon creates 0700 and checks for its owner.
        fallback = Path("/run") if uid == 0 else Path(f"/tmp/banger-runtime-{uid}")  # noqa: S108
        return cls(
            state=root("XDG_STATE_HOME", home / ".local/state") / "banger",
            data=root("XDG_DATA_HOME", home / ".local/share") / "banger",
            cache=root("XDG_CACHE_HOME", home / ".cache") / "banger",
            config=root("XDG_CONFIG_HOME", home / ".config") / "banger",
            runtime=root("XDG_RUNTIME_DIR", fallback) / "banger",
        )

    # runtime folder
    @property
    def socket(self) -> Path:
        return checked_socket(self.runtime / "bangerd.sock")

    @property
    def lock(self) -> Path:
        return self.runtime / "lock"

    def vm_runtime(self, vm_id: str) -> Path:
        return self.runtime / "vms" / vm_id

    def console_socket(self, vm_id: str) -> Path:
        return checked_socket(self.vm_runtime(vm_id) / "console.sock")

    def monitor_socket(self, vm_id: str) -> Path:
        return checked_socket(self.vm_runtime(vm_id) / "monitor.sock")

    def agent_socket(self, vm_id: str) -> Path:
        return checked_socket(self.vm_runtime(vm_id) / "agent.sock")

    # state folder
    @property
    def database(self) -> Path:
        return self.state / "banger.db"

    @property
    def daemon_log(self) -> Path:
        return self.state / "bangerd.log"

    @property
    def vms(self) -> Path:
        return self.state / "vms"

    def vm(self, vm_id: str) -> Path:
        return self.vms / vm_id

    def vm_record(self, vm_id: str) -> Path:
        return self.vm(vm_id) / "vm.json"

    def console_log(self, vm_id: str) -> Path:
        return self.vm(vm_id) / "console.log"

    def vmm_log(self, vm_id: str) -> Path:
        return self.vm(vm_id) / "vmm.log"

    def vmm_events(self, vm_id: str) -> Path:
        return self.vm(vm_id) / "vmm-events.jsonl"

    def vm_initrd(self, vm_id: str) -> Path:
        return self.vm(vm_id) / "initrd.cpio"

    def vm_kernel(self, vm_id: str) -> Path:
        """The user's own kernel, unpacked for a VMM that takes no compressed one."""
        return self.vm(vm_id) / "vmlinux"

    def root_journal(self, vm_id: str) -> Path:
        """There while files are put into the VM's root drive."""
        return self.vm(vm_id) / "root.changing"

    def host_key(self, vm_id: str) -> Path:
        """The private SSH host key of the VM; the public half has ``.pub`` added."""
        return self.vm(vm_id) / "ssh_host_ed25519_key"

    @property
    def images(self) -> Path:
        return self.state / "images"

    def image(self, image_id: str) -> Path:
        return self.images / image_id

    def image_record(self, image_id: str) -> Path:
        return self.image(image_id) / "image.json"

    @property
    def scratch(self) -> Path:
        return self.state / "scratch"

    def operation_log(self, operation_id: str) -> Path:
        return self.state / "operations" / f"{operation_id}.log"

    @property
    def ssh_key(self) -> Path:
        """The user's own key pair for all VMs."""
        return self.state / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.state / "ssh" / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """What ``~/.ssh/config`` includes: one host for each VM."""
        return self.state / "ssh" / "config"

    # data folder: the name tool has one of its own beside ours
    @property
    def dns_records(self) -> Path:
        return self.data.parent / "mapdns" / "records.json"

    # data folder
    @property
    def firecracker(self) -> Path:
        """The Firecracker that ``setup`` took, with its jailer and their digests."""
        return self.data / "firecracker"

    # cache and configuration folders
    @property
    def debs(self) -> Path:
        return self.cache / "debs"

    @property
    def kvm_verdict(self) -> Path:
        return self.cache / "kvm-probe.json"

    @property
    def settings(self) -> Path:
        return self.config / "config.toml"

    @property
    def packages(self) -> Path:
        """The user's package list, which replaces the shipped one where it exists."""
        return self.config / "packages.apt"


def checked_socket(path: Path) -> Path:
    """Return ``path`` if it fits into a Unix socket address, else raise ``InvalidInput``."""
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT:
        raise InvalidInput(
            f"the socket path {path} is too long",
            cause=f"{length} bytes, and a Unix socket path holds {SOCKET_PATH_LIMIT}",
            resolution="set XDG_RUNTIME_DIR to a shorter folder",
        )
    return path
