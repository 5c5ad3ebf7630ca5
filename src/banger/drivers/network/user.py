"""The VMM's own user-mode network: no root, and the guest's SSH port on the host's loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

from banger import naming
from banger.drivers.network import addressing
from banger.drivers.network.base import Attachment, Traffic
from banger.errors import Conflict
from banger.host import process
from banger.model.network import CLOSED, Lease, Reach
from banger.model.operation import Presence

HOST = "127.0.0.1"
#: Below the ports that Linux hands out by itself (32768 and up), so that none of those is hit.
FIRST_PORT = 22000
PORTS = 10_000
#: Where a user's search begins: users start apart and end up anywhere in the range.
_PORTS_PER_SHARE = PORTS // addressing.SHARES
#: The fixed network inside QEMU's user-mode stack (its documentation, "-netdev user").
ADDRESS, PREFIX_LENGTH, GATEWAY, NAMESERVER = "10.0.2.15", 24, "10.0.2.2", "10.0.2.3"


class User:
    """Every guest sees the same private network; the host reaches SSH by a forwarded port."""

    name = "user"
    closed = False
    live = False

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def check(self) -> None:
        return  # the VMM brings all it needs

    def candidates(self, vm_id: str) -> Iterator[Lease]:
        for port in ports_of(self._uid, vm_id):
            if is_free(port):
                yield Lease(
                    kind=self.name,
                    mac=naming.mac_address(vm_id),
                    address=ADDRESS,
                    prefix_length=PREFIX_LENGTH,
                    gateway=GATEWAY,
                    tap="",
                    ssh_host=HOST,
                    ssh_port=port,
                    nameservers=(NAMESERVER,),
                )

    def probe(self, lease: Lease, vm_id: str) -> Presence:
        """The host side is the port, and it is the VMM that holds it while it runs."""
        if is_free(lease.ssh_port):
            return Presence.ABSENT
        mark = naming.process_name(self._uid, vm_id)
        return Presence.OURS if process.find_by_argument(mark) else Presence.FOREIGN

    async def attach(
        self,
        lease: Lease,
        vm_id: str,
        reach: Reach = CLOSED,  # noqa: ARG002 - the VMM publishes ports
        dns_port: int = 0,  # noqa: ARG002 - the VMM answers questions itself
    ) -> None:
        if self.probe(lease, vm_id) is Presence.FOREIGN:
            raise Conflict(
                f"port {lease.ssh_port} of {HOST}, kept for the SSH of VM {vm_id}, is taken",
                cause="another program listens there",
                resolution=f"ss -ltnp sport = :{lease.ssh_port}, then end that program",
            )

    async def admit(self, lease: Lease, vm_id: str, reach: Reach, dns_port: int = 0) -> None:  # noqa: ARG002 - the protocol's
        return  # the VMM does it

    async def astray(self, attachments: Sequence[Attachment]) -> list[str]:  # noqa: ARG002 - the protocol's
        return []  # nothing of it is the host's

    def unruled(self) -> bool:
        return False

    async def restore(self, attachment: Attachment) -> None:  # noqa: ARG002 - the protocol's
        return

    async def detach(self, lease: Lease, vm_id: str) -> None:  # noqa: ARG002 - the protocol's
        return  # the port is free as soon as the VMM is gone

    def traffic(self, lease: Lease) -> Traffic | None:  # noqa: ARG002 - the protocol's
        return None  # QEMU's user-mode network counts nothing


def ports_of(uid: int, vm_id: str) -> Iterator[int]:
    """Every port of the range once, from a place that follows from user and VM."""
    share = uid % addressing.SHARES * _PORTS_PER_SHARE
    start = share + addressing.spread(f"port:{vm_id}", _PORTS_PER_SHARE)
    return (FIRST_PORT + (start + step) % PORTS for step in range(PORTS))


def is_free(port: int) -> bool:
    """Whether a program could listen on the port now."""
    with socket.socket() as probe:
        # As QEMU does: remains of closed connections are no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
