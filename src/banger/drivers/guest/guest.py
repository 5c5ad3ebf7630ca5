"""The guest driver: our initrd, our agent and OpenSSH behind one protocol."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Sequence
from pathlib import Path

from banger.drivers.guest import agent_dial, profiles, ssh
from banger.drivers.guest.agent import AgentClient
from banger.drivers.guest.base import ForgetTarget, GuestAgent, Identity, LayerTarget, SSHHost
from banger.drivers.guest.forget import forget_identity
from banger.drivers.guest.identity import identity_archive
from banger.drivers.guest.initrd import is_ours
from banger.drivers.guest.keys import ensure_key
from banger.drivers.guest.known_hosts import known_hosts_text
from banger.drivers.guest.layer import ARGUMENT as LAYER_ARGUMENT
from banger.drivers.guest.layer import copy_modules, versions_in, write_layer
from banger.drivers.guest.ssh_config import ssh_config_text
from banger.host import cpio
from banger.host.files import explained, write_atomic

#: Our mark stands within so many bytes of an initrd's beginning.
_INITRD_HEAD = 4096


class LinuxGuest:
    """Implements ``Guest`` (see ``base``) for guests with our agent, or with SSH alone."""

    def new_host_key(self, private: Path) -> str:
        """The public line of a VM's host key, made when there is none."""
        return ensure_key(private, "banger-host-key")

    def user_key(self, private: Path) -> str:
        """The public line of the user's key for all VMs, made on first use."""
        return ensure_key(private, "banger")

    def write_known_hosts(self, path: Path, entries: dict[str, str]) -> None:
        """Replace our known_hosts."""
        _write_changed(path, known_hosts_text(entries))

    def write_ssh_config(
        self, path: Path, hosts: Sequence[SSHHost], *, user: str, key: Path, known_hosts: Path
    ) -> None:
        """Replace the configuration that users' own includes."""
        text = ssh_config_text(hosts, user=user, key=key, known_hosts=known_hosts)
        _write_changed(path, text)

    def write_initrd(self, identity: Identity, base: Path, target: Path) -> None:
        """``base`` and the identity behind it; the file holds a private key and is 0600."""
        with explained(f"read {base}"):
            initrd = base.read_bytes()
        archive = identity_archive(identity, now=int(time.time()))
        write_atomic(target, cpio.pad(initrd) + archive)

    def reads_identity(self, initrd: Path) -> bool:
        """Whether the initrd has our mark."""
        with explained(f"read {initrd}"), initrd.open("rb") as file:
            return is_ours(file.read(_INITRD_HEAD))

    async def write_layer(self, identity: Identity, target: LayerTarget) -> None:
        """The identity into the guest's own file system; see ``layer``."""
        await write_layer(identity, target, now=int(time.time()))

    async def forget_identity(self, target: ForgetTarget) -> None:
        """Back to what the base had; see ``forget``."""
        await forget_identity(target)

    def copy_modules(self, folder: Path, target: Path) -> None:
        """A copy of their folder; see ``layer``."""
        copy_modules(folder, target)

    def check_modules(self, folder: Path) -> None:
        """Refuses a folder without kernel modules."""
        versions_in(folder)

    def kernel_arguments(self, profile: str, *, layer: bool = False) -> tuple[str, ...]:
        """The kernel arguments of a boot profile."""
        arguments = profiles.kernel_arguments(profile)
        return (*arguments, LAYER_ARGUMENT) if layer else arguments

    def connect(self, agent_socket: Path, *, vsock: bool = False) -> GuestAgent:
        """A client that connects when first used."""
        if not vsock:
            return AgentClient(functools.partial(agent_dial.dial_port, agent_socket))
        return AgentClient(
            functools.partial(agent_dial.dial_vsock, agent_socket),
            functools.partial(agent_dial.vsock_refuses, agent_socket),
        )

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
        """The OpenSSH client's argv; see ``ssh.ssh_command``."""
        return ssh.ssh_command(
            host=host,
            port=port,
            user=user,
            key=key,
            known_hosts=known_hosts,
            host_key_alias=host_key_alias,
        )

    async def ssh_banner(self, host: str, port: int, *, timeout: float) -> bool:
        """Whether an SSH server greets there within ``timeout`` seconds."""
        return await ssh.ssh_banner(host, port, timeout=timeout)


def _write_changed(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        if path.read_bytes() == text.encode():
            return
    write_atomic(path, text)
