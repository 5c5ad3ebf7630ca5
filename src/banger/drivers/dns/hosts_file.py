"""Wires names through a block of lines in the host's hosts file, written by the root side."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from banger.drivers.dns.base import Wanted
from banger.errors import Conflict
from banger.host.privilege import Privilege
from banger.privileged import hosts_file
from banger.privileged.calls import HostsBlockSet
from banger.privileged.checks import ALLOWED_NETWORKS, MAX_ENTRIES


class HostsFile:
    """For hosts without systemd-resolved."""

    name = "hosts"

    def __init__(self, privilege: Privilege, uid: int) -> None:
        self._privilege = privilege
        self._uid = uid

    async def wire(self, wanted: Wanted) -> None:
        entries = entries_of(wanted.table) if wanted.links else ()
        text = _text()
        others = hosts_file.owners(text) - {self._uid}
        if others:
            raise Conflict(
                "the names of your VMs cannot be wired",
                cause=f"those of user {min(others)} are in {hosts_file.HOSTS}, and one user's are",
                resolution="ask by DNS: banger doctor shows where, or let that user stop their VMs",
            )
        if entries or self._uid in hosts_file.owners(text):
            await self._privilege.call([HostsBlockSet(entries)])

    def leftover(self) -> bool:
        return self._uid in hosts_file.owners(_text())


def entries_of(table: Mapping[str, str]) -> tuple[str, ...]:
    """The lines for the names with addresses that the root side takes, sorted by name."""
    found = [f"{address} {name}" for name, address in sorted(table.items()) if _is_fit(address)]
    return tuple(found[:MAX_ENTRIES])


def _is_fit(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return any(address in network for network in ALLOWED_NETWORKS)


def _text() -> bytes:
    try:
        return hosts_file.HOSTS.read_bytes()
    except OSError:
        return b""
