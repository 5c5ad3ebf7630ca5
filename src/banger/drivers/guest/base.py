"""The guest protocol: gives a guest its identity before boot and talks to it afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from banger.model.network import Lease


class Identity(Struct, frozen=True):
    """What makes one guest different from every other one of its image.

    Keys are OpenSSH text. ``machine_id`` is 32 hexadecimal digits. ``work_disk`` asks for
    /dev/vdb to be mounted on /work.
    """

    hostname: str
    machine_id: str
    authorized_key: str
    host_key: str
    host_public_key: str
    lease: Lease
    profile: str
    work_disk: bool = False


class LayerTarget(Struct, frozen=True):
    """The writable layer of a VM that is not running, to write into.

    ``device`` is a raw file or block device with an ext4 file system. ``journal`` is a file in
    the VM's folder that exists while the layer is being changed. ``modules`` is a folder of
    kernel modules for the guest. ``run_as`` is the ``(uid, gid)`` to drop to, when we are root.
    """

    device: Path
    journal: Path
    modules: Path | None = None
    run_as: tuple[int, int] | None = None


class ForgetTarget(Struct, frozen=True):
    """A copy of a VM's root file system that is to become an image.

    ``device`` is a raw file with an ext4 file system, ``base`` what the VM was made from (it may
    be gone). ``journal`` and ``run_as`` are as in ``LayerTarget``.
    """

    device: Path
    base: Path
    journal: Path
    run_as: tuple[int, int] | None = None


class Chunk(Struct, frozen=True):
    """A piece of a stream. ``channel`` is ``stdin``, ``stdout`` or ``stderr``; empty = end."""

    channel: str
    data: bytes


class GuestCommand(Struct, frozen=True):
    """A command to run in the guest as root.

    ``argv`` is looked up in the guest's PATH. ``cwd`` defaults to /root.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = ""


class SSHHost(Struct, frozen=True):
    """Where the host reaches a guest's SSH server, and under which alias its key is pinned."""

    name: str
    address: str
    port: int
    key_alias: str


class GuestProcess(Protocol):
    """A command running in the guest."""

    async def write(self, data: bytes) -> None:
        """Feed standard input; returns when there is room for more. Empty data closes it."""
        ...

    def output(self) -> AsyncIterator[Chunk]:
        """Pieces of stdout and stderr as they come; ends when both are closed."""
        ...

    async def status(self) -> int:
        """The exit status, 128 + n for a signal, 126/127 as a shell gives them."""
        ...

    async def signal(self, number: int) -> None:
        """Send a signal to the command's process group."""
        ...

    async def close(self) -> None:
        """Give up: the guest ends the command if it still runs (SIGHUP). Idempotent."""
        ...


class GuestAgent(Protocol):
    """Talks to the agent of one guest over its socket. One connection, many commands."""

    async def ping(self, *, timeout: float) -> dict[str, object]:
        """Facts of the guest (version, uptime). Raises ``DeadlineExceeded``."""
        ...

    async def execute(self, command: GuestCommand) -> GuestProcess:
        """Start a command. Raises ``VMMFailed`` if the agent is gone."""
        ...

    async def shutdown(self, *, timeout: float) -> None:
        """Ask the guest to power off in order; returns when it has agreed."""
        ...

    async def close(self) -> None:
        """Drop the connection."""
        ...


class Guest(Protocol):
    """Everything banger does to and with guests."""

    def new_host_key(self, private: Path) -> str:
        """Make an ed25519 SSH host key pair at ``private`` (+ ``.pub``), mode 0600.

        Returns the public line. An existing pair is kept.
        """
        ...

    def user_key(self, private: Path) -> str:
        """The public line of the user's own key pair, made on first use."""
        ...

    def write_known_hosts(self, path: Path, entries: dict[str, str]) -> None:
        """Rewrite our known_hosts: host key alias -> public key line, atomically."""
        ...

    def write_ssh_config(
        self, path: Path, hosts: Sequence[SSHHost], *, user: str, key: Path, known_hosts: Path
    ) -> None:
        """Rewrite OpenSSH's configuration for ``hosts``, atomically; unchanged is left alone."""
        ...

    def write_initrd(self, identity: Identity, base: Path, target: Path) -> None:
        """Write ``base`` followed by the identity archive to ``target``, mode 0600."""
        ...

    def reads_identity(self, initrd: Path) -> bool:
        """Whether this initrd takes the identity from behind it: whether it is one of ours."""
        ...

    async def write_layer(self, identity: Identity, target: LayerTarget) -> None:
        """Write the identity into the guest's own file system, for any other initrd or none.

        Idempotent; never mounts. Raises ``HostNotReady`` when a program is missing or the file
        system is full, ``CorruptState`` when it cannot be repaired or written to.
        """
        ...

    async def forget_identity(self, target: ForgetTarget) -> None:
        """Take out what any boot with banger has written into a root file system.

        Names, machine id, keys, addresses: where the base has a file, that is put back. All else
        stays as it is. Idempotent; never mounts. Raises as ``write_layer``.
        """
        ...

    def copy_modules(self, folder: Path, target: Path) -> None:
        """Copy the modules of a folder that ``check_modules`` accepts, times included.

        ``target`` is a new folder, which is accepted as well. Raises ``BangerError``.
        """
        ...

    def check_modules(self, folder: Path) -> None:
        """Raises ``InvalidInput`` unless the folder holds modules of a kernel."""
        ...

    def kernel_arguments(self, profile: str, *, layer: bool = False) -> tuple[str, ...]:
        """Kernel arguments of a boot profile (``standard`` or ``fast``).

        ``layer``: the identity was written by ``write_layer``.
        """
        ...

    def connect(self, agent_socket: Path, *, vsock: bool = False) -> GuestAgent:
        """A client for the agent behind the socket; connects when first used.

        ``vsock``: the socket leads to the guest's vsock, and is told which port is wanted.
        """
        ...

    def ssh_command(
        self,
        *,
        host: str,
        port: int,
        user: str,
        key: Path,
        known_hosts: Path,
        host_key_alias: str,
    ) -> tuple[str, ...]:
        """The OpenSSH client's argv up to and including ``user@host``; strict checking."""
        ...

    async def ssh_banner(self, host: str, port: int, *, timeout: float) -> bool:
        """Whether an SSH server greets there within ``timeout`` seconds."""
        ...
