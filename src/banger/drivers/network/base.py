"""The network protocol: leases addresses from the host's free ones, attaches a VM to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from banger.model.network import CLOSED, Lease, Reach
from banger.model.operation import Presence


class Attachment(Struct, frozen=True):
    """How a VM is attached to its network; the fields are those of ``Network.attach``."""

    lease: Lease
    vm_id: str
    reach: Reach
    dns_port: int = 0


class Traffic(Struct, frozen=True):
    """What a guest has received and sent since its interface was made; all only grow."""

    received_bytes: int
    sent_bytes: int
    received_packets: int
    sent_packets: int
    received_drops: int
    sent_drops: int


class Network(Protocol):
    """Connects a VM's one interface. Every method is idempotent and accepts "already so"."""

    name: str
    #: Whether guests are kept from the internet until ``Reach.internet`` lets them.
    closed: bool
    #: Whether ``admit`` is what publishes ports; where not, the VMM does it itself.
    live: bool

    def check(self) -> None:
        """Raises ``PermissionRefused`` or ``HostNotReady`` if it cannot be used on this host."""
        ...

    def candidates(self, vm_id: str) -> Iterator[Lease]:
        """Leases free on the host as far as it can be seen, best first.

        The caller reserves one in the store (``Lease.reservations``); one that another VM
        holds there is skipped by asking for the next.
        """
        ...

    def probe(self, lease: Lease, vm_id: str) -> Presence:
        """Whether the host side of the lease exists, and whether it carries our mark."""
        ...

    async def attach(
        self, lease: Lease, vm_id: str, reach: Reach = CLOSED, dns_port: int = 0
    ) -> None:
        """Make the host side, let ``reach`` pass. ``Conflict`` if something foreign is there.

        The guest's questions to port 53 of its gateway are led to ``dns_port`` there; 0 leaves
        them as they are.
        """
        ...

    async def admit(self, lease: Lease, vm_id: str, reach: Reach, dns_port: int = 0) -> None:
        """Let ``reach`` pass from now on in place of what did. Raises as ``attach`` does."""
        ...

    async def astray(self, attachments: Sequence[Attachment]) -> list[str]:
        """The ids of the VMs whose host side is no longer as ``attach`` and ``admit`` left it.

        Others flush tables, delete addresses and switch off forwarding. Cheap: one look at
        the host for all of them. Raises ``PermissionRefused`` or ``HostNotReady``.
        """
        ...

    def unruled(self) -> bool:
        """Whether the host's rules for all of our VMs are surely gone: a look that costs nothing.

        False where that cannot be told; ``astray`` tells it all.
        """
        ...

    async def restore(self, attachment: Attachment) -> None:
        """Put the host side in order again; one that is gone stays gone. Raises as ``attach``."""
        ...

    async def detach(self, lease: Lease, vm_id: str) -> None:
        """Remove the host side, and only if it carries our mark."""
        ...

    def traffic(self, lease: Lease) -> Traffic | None:
        """What went through the host side; ``None`` if that is absent or does not count."""
        ...
