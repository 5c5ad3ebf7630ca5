"""Where and how to reach a guest: SSH, agent, console and its log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct

from banger.drivers.guest.base import GuestAgent, GuestCommand, GuestProcess
from banger.errors import BangerError, NoAgent
from banger.model.lifecycle import Action
from banger.model.vm import VM
from banger.naming import host_key_alias
from banger.service.context import Context
from banger.service.guest_end import LastingProcess
from banger.service.ssh_files import USER
from banger.service.vms import VMService

_PING_TIMEOUT = 2.0
_FIRST_PING_TIMEOUT = 8.0
_INIT_TIMEOUT = 20.0
#: Seconds after its start in which a guest may still be on its way up.
_YOUNG = 60.0
_FOLLOW_PAUSE = 0.1
_PIECE = 65536


class Access(Struct, frozen=True):
    """Everything a client needs to enter a guest. ``ssh`` is the argv up to user@host."""

    id: str
    name: str
    state: str
    address: str
    user: str
    host: str
    port: int
    key: str
    known_hosts: str
    host_alias: str
    ssh: tuple[str, ...]
    agent: bool
    console_socket: str
    console_log: str


class AccessService:
    """Use cases that talk to a guest."""

    def __init__(self, context: Context, vms: VMService) -> None:
        self._context = context
        self._vms = vms

    async def endpoint(self, reference: str) -> Access:
        """How to reach the guest. Raises ``Conflict`` when the VM does not run."""
        vm = self._by_name_or_address(reference)
        self._vms.require(vm, Action.ACCESS)
        paths, lease = self._context.paths, vm.lease
        return Access(
            id=vm.id,
            name=vm.name,
            state=vm.state.value,
            address=lease.address,
            user=USER,
            host=lease.ssh_host,
            port=lease.ssh_port,
            key=str(paths.ssh_key),
            known_hosts=str(paths.known_hosts),
            host_alias=host_key_alias(vm.id),
            ssh=self._context.drivers.guest.ssh_command(
                host=lease.ssh_host,
                port=lease.ssh_port,
                user=USER,
                key=paths.ssh_key,
                known_hosts=paths.known_hosts,
                host_key_alias=host_key_alias(vm.id),
            ),
            agent=self._context.drivers.vmms[vm.spec.vmm].capabilities().agent,
            console_socket=str(paths.console_socket(vm.id)),
            console_log=str(paths.console_log(vm.id)),
        )

    async def execute(self, reference: str, command: GuestCommand) -> GuestProcess:
        """Run a command through the agent. Raises ``NoAgent`` if the guest has none."""
        vm = self._by_name_or_address(reference)
        self._vms.require(vm, Action.ACCESS)
        if not self._context.drivers.vmms[vm.spec.vmm].capabilities().agent:
            raise NoAgent(
                f"{vm.name} has no agent",
                cause=f"the VMM {vm.spec.vmm} has no way to one",
                resolution=f"banger ssh {vm.name}",
            )
        agent = self._context.agent(vm)
        try:
            await self._settled(agent, young=time.time() - vm.started_at < _YOUNG)
        except BangerError as error:
            await self._context.drop_agent(vm.id)
            raise NoAgent(
                f"the agent of {vm.name} does not answer",
                cause=error.cause or error.brief,
                resolution=f"banger ssh {vm.name}",
            ) from error
        return LastingProcess(self._context, vm, command, await agent.execute(command))

    async def _settled(self, agent: GuestAgent, *, young: bool) -> None:
        """Returns when commands work as in any guest.

        The agent may be there before the init system is; ``reboot`` or ``systemctl`` would
        fail then. One that takes longer than ``_INIT_TIMEOUT`` is not waited for.
        """
        patience = asyncio.get_running_loop().time() + _INIT_TIMEOUT
        # In a guest that has just booted the agent may come a moment after the SSH server.
        facts = await agent.ping(timeout=_FIRST_PING_TIMEOUT if young else _PING_TIMEOUT)
        while facts.get("systemd") == "starting":
            if asyncio.get_running_loop().time() > patience:
                return
            await asyncio.sleep(_FOLLOW_PAUSE)
            facts = await agent.ping(timeout=_PING_TIMEOUT)

    async def logs(self, reference: str, *, lines: int, follow: bool) -> AsyncIterator[bytes]:
        """The console log, its last ``lines`` lines (0: all); with ``follow`` until the end."""
        vm = self._vms.get(reference)
        return self._read(vm.id, self._context.paths.console_log(vm.id), lines, follow=follow)

    async def _read(
        self, vm_id: str, path: Path, lines: int, *, follow: bool
    ) -> AsyncIterator[bytes]:
        position = 0
        if path.exists() and lines:
            position = await asyncio.to_thread(start_of_tail, path, lines)
        while True:
            piece = await asyncio.to_thread(_read_from, path, position)
            if piece:
                position += len(piece)
                yield piece
            elif not follow or self._context.vms.get(vm_id) is None:
                return
            else:
                if path.exists() and path.stat().st_size < position:
                    position = 0  # a new boot has truncated the log
                await asyncio.sleep(_FOLLOW_PAUSE)

    def _by_name_or_address(self, reference: str) -> VM:
        for vm in self._context.vms.all() if reference.count(".") == 3 else ():
            if vm.lease.kind == "tap" and vm.lease.address == reference:
                return vm
        return self._vms.get(reference)


def start_of_tail(path: Path, lines: int) -> int:
    """Offset at which the last ``lines`` lines begin."""
    with path.open("rb") as log:
        end = log.seek(0, 2)
        position, found = end, 0
        while position > 0:
            start = max(0, position - _PIECE)
            log.seek(start)
            block = log.read(position - start)
            if position == end and block.endswith(b"\n"):
                block = block[:-1]
            breaks = block.count(b"\n")
            if found + breaks >= lines:
                for _ in range(lines - found):
                    block = block[: block.rindex(b"\n")]
                return start + len(block) + 1
            found += breaks
            position = start
    return 0


def _read_from(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as log:
            log.seek(position)
            return log.read(_PIECE)
    except FileNotFoundError:
        return b""
