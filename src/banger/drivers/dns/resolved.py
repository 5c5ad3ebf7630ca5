"""Wires names through systemd-resolved: one TAP of ours is told which server knows ``.vm``.

The setting belongs to the interface and goes with it, so nothing can be left behind.
"""

from __future__ import annotations

from banger import naming
from banger.drivers.dns.base import Wanted
from banger.host.privilege import Privilege
from banger.privileged.calls import Call, ResolvedClear, ResolvedSet


class Resolved:
    """One link is enough, and more would only be asked in parallel."""

    name = "resolved"

    def __init__(self, privilege: Privilege, uid: int) -> None:
        self._privilege = privilege
        self._uid = uid
        self._told = ("", "", "")

    async def wire(self, wanted: Wanted) -> None:
        calls, told = plan(self._told, wanted, self._uid)
        if calls:
            await self._privilege.call(calls)
        self._told = told

    def leftover(self) -> bool:
        return False


def plan(
    told: tuple[str, str, str], wanted: Wanted, uid: int
) -> tuple[list[Call], tuple[str, str, str]]:
    """The calls that lead from what was told (VM, TAP, server) to what is wanted."""
    vm_id, tap, server = told
    stays = wanted.links.get(vm_id) == tap and bool(tap)
    if not wanted.server or not wanted.links:
        calls: list[Call] = [ResolvedClear(tap, naming.tap_alias(uid, vm_id))] if stays else []
        return calls, ("", "", "")
    if stays and server == wanted.server:
        return [], told
    chosen = vm_id if stays else min(wanted.links)
    link = wanted.links[chosen]
    call = ResolvedSet(link, naming.tap_alias(uid, chosen), wanted.server)
    return [call], (chosen, link, wanted.server)
