"""One routed TAP interface per VM, made by the root side."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path

from banger import naming
from banger.drivers.network import addressing, canary
from banger.drivers.network.base import Attachment, Traffic
from banger.host.privilege import Privilege
from banger.model.network import CLOSED, Lease, Reach
from banger.model.operation import Presence
from banger.privileged import kernel_files, nat, rules_show
from banger.privileged.calls import (
    NatApply,
    NatClear,
    RulesShow,
    TapCreate,
    TapDelete,
    TapFacts,
    TapRestore,
)
from banger.privileged.routes import Route, read_routes

_DEFAULT_ROUTE = ipaddress.IPv4Network("0.0.0.0/0")


class Tap:
    """The guest has an address that the host, and with NAT the world, reaches directly.

    ``pool`` is divided between users; ``nameservers`` go into the guests' resolv.conf. ``owner``
    is the user that may open the TAPs, if it is not ``uid``: only root can give them away.
    """

    name = "tap"
    closed = True
    live = True

    def __init__(
        self,
        privilege: Privilege,
        pool: str,
        uid: int,
        nameservers: tuple[str, ...],
        *,
        owner: int | None = None,
    ) -> None:
        self._privilege = privilege
        self._share = addressing.share_of(addressing.parse_pool(pool), uid)
        self._uid = uid
        self._owner = owner
        self._nameservers = nameservers

    def check(self) -> None:
        self._privilege.require()

    def candidates(self, vm_id: str) -> Iterator[Lease]:
        for subnet in addressing.candidates(self._share, vm_id, networks_in_use()):
            yield Lease(
                kind=self.name,
                mac=naming.mac_address(vm_id),
                address=subnet.guest,
                prefix_length=addressing.PREFIX_LENGTH,
                gateway=subnet.gateway,
                tap=naming.tap_name(vm_id),
                ssh_host=subnet.guest,
                ssh_port=22,
                nameservers=self._nameservers,
            )

    def probe(self, lease: Lease, vm_id: str) -> Presence:
        alias = alias_of(lease.tap)
        if alias is None:
            return Presence.ABSENT
        return Presence.OURS if alias == self._alias(vm_id) else Presence.FOREIGN

    async def attach(
        self, lease: Lease, vm_id: str, reach: Reach = CLOSED, dns_port: int = 0
    ) -> None:
        create = create_call(lease, vm_id, self._uid, self._owner)
        await self._privilege.call([create, nat_call(lease, vm_id, self._uid, reach, dns_port)])

    async def admit(self, lease: Lease, vm_id: str, reach: Reach, dns_port: int = 0) -> None:
        await self._privilege.call([nat_call(lease, vm_id, self._uid, reach, dns_port)])

    async def astray(self, attachments: Sequence[Attachment]) -> list[str]:
        if not attachments:
            return []
        (answer,) = await self._privilege.call([RulesShow()])
        return [
            each.vm_id
            for each in attachments
            if not (_is_routed(each) and self._is_ruled(each, answer))
        ]

    def unruled(self) -> bool:
        return canary.lives()

    def _is_ruled(self, attachment: Attachment, answer: TapFacts) -> bool:
        """Whether the table says of the VM what it should. Without nft there is none."""
        if answer.index == rules_show.NO_NFT:
            return True
        guest = nat.guest_of(self._nat_call(attachment))
        wanted = rules_show.fingerprint(guest)
        found = rules_show.read_answer(answer).get(attachment.lease.tap)
        through = guest.internet or guest.forwards
        return (
            answer.index == rules_show.CURRENT
            and found == wanted
            and nat.forwarding(guest.tap)
            and not (through and not all(map(nat.forwarding, nat.uplinks())))
        )

    async def restore(self, attachment: Attachment) -> None:
        create = create_call(attachment.lease, attachment.vm_id, self._uid, self._owner)
        again = TapRestore(
            name=create.name,
            alias=create.alias,
            host_address=create.host_address,
            guest_address=create.guest_address,
            guest_mac=create.guest_mac,
        )
        await self._privilege.call([again, self._nat_call(attachment)])

    def _nat_call(self, attachment: Attachment) -> NatApply:
        return nat_call(
            attachment.lease, attachment.vm_id, self._uid, attachment.reach, attachment.dns_port
        )

    async def detach(self, lease: Lease, vm_id: str) -> None:
        if self.probe(lease, vm_id) is Presence.OURS:
            alias = self._alias(vm_id)
            await self._privilege.call([NatClear(lease.tap, alias), TapDelete(lease.tap, alias)])

    def traffic(self, lease: Lease) -> Traffic | None:
        return traffic_of(lease.tap)

    def _alias(self, vm_id: str) -> str:
        return naming.tap_alias(self._uid, vm_id)


def create_call(lease: Lease, vm_id: str, uid: int, owner: int | None = None) -> TapCreate:
    """What the root side is asked for to make the lease's TAP; ``owner`` if it is not ``uid``."""
    return TapCreate(
        name=lease.tap,
        owner_uid=uid if owner is None else owner,
        alias=naming.tap_alias(uid, vm_id),
        host_address=f"{lease.gateway}/{lease.prefix_length}",
        guest_address=lease.address,
        guest_mac=lease.mac,
    )


def nat_call(lease: Lease, vm_id: str, uid: int, reach: Reach, dns_port: int) -> NatApply:
    """What the root side is asked for to let ``reach`` pass; ``dns_port`` as for ``attach``."""
    return NatApply(
        name=lease.tap,
        alias=naming.tap_alias(uid, vm_id),
        guest_address=lease.address,
        guest_mac=lease.mac,
        internet=reach.internet,
        isolated=reach.isolated,
        host=reach.host,
        forwards=tuple(f"{f.protocol}:{f.host_port}:{f.guest_port}" for f in reach.forwards),
        dns_port=dns_port,
    )


def alias_of(interface: str) -> str | None:
    """The mark of an interface of the host; ``None`` if there is no such interface."""
    try:
        return kernel_files.value(f"/sys/class/net/{interface}/ifalias")
    except OSError:
        return None


def _is_routed(attachment: Attachment) -> bool:
    """Whether the host's way to the guest leads through its TAP: it is up and addressed."""
    lease = attachment.lease
    network = ipaddress.IPv4Network((lease.address, lease.prefix_length), strict=False)
    return any(
        route.network == network and route.interface == lease.tap for route in _host_routes()
    )


def traffic_of(interface: str, root: Path = Path("/sys/class/net")) -> Traffic | None:
    """The counters of a TAP from the guest's side; ``None`` if there is no such interface.

    What the host receives from a TAP, the guest has sent (Linux's ``sysfs-class-net-statistics``).
    """
    folder = root / interface / "statistics"

    def value(name: str) -> int:
        return int((folder / name).read_text())

    try:
        return Traffic(
            received_bytes=value("tx_bytes"),
            sent_bytes=value("rx_bytes"),
            received_packets=value("tx_packets"),
            sent_packets=value("rx_packets"),
            received_drops=value("tx_dropped"),
            sent_drops=value("rx_dropped"),
        )
    except (OSError, ValueError):
        return None


def networks_in_use() -> list[ipaddress.IPv4Network]:
    """The networks to which the host has a route of its own; the default route is none."""
    return [route.network for route in _host_routes() if route.network != _DEFAULT_ROUTE]


def _host_routes() -> Sequence[Route]:
    try:
        return list(read_routes())
    except OSError:
        return []
