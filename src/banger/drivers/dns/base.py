"""The name service protocol: publishes running VMs under ``.vm``, and how a host is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from banger.model.network import Lease


class Publication(Struct, frozen=True):
    """A VM's name and where it leads. ``gateway`` is the host's end of the VM's network."""

    vm_id: str
    name: str
    address: str
    gateway: str


class NameStatus(Struct, frozen=True):
    """``server`` is where questions are answered, as ``ADDRESS:PORT``; empty if nowhere.

    ``wired`` is how the host's own programs see the names (``hosts``, ``resolved``); empty if
    they do not, and then ``problem`` says why.
    """

    server: str
    wired: str
    problem: str


class NameService(Protocol):
    """Lets ``NAME.vm`` lead to a VM from its start to its teardown."""

    async def publish(self, publication: Publication) -> None:
        """Publish a VM, in place of what it published before.

        Raises ``Conflict`` if somebody else has set the name, ``InvalidInput`` if it cannot be
        one in the DNS. That the host's resolver cannot be told is no error: see ``status``.
        """
        ...

    async def withdraw(self, vm_id: str) -> None:
        """Take back what the VM published, and nothing else; accepts that there is nothing."""
        ...

    async def settle(self, publications: Sequence[Publication], busy: Collection[str]) -> None:
        """Publish exactly these after a start of the daemon; VMs in ``busy`` stay as they are."""
        ...

    async def listen(self, lease: Lease, vm_id: str) -> int:
        """Answer the VM's guest at its gateway, from now until ``withdraw``.

        Returns the port there to which its questions to port 53 must be led: 0 where nothing
        needs to be, or where nothing listens.
        """
        ...

    def nameservers(self, lease: Lease) -> tuple[str, ...]:
        """What a guest with this lease should ask: our server first where it listens for it."""
        ...

    def dns_name(self, vm_id: str) -> str:
        """The full name under which the host's programs find the VM now; empty if they do not."""
        ...

    def obstacle(self, vm_id: str) -> str:
        """Why a VM that should have a name is not found by it; empty if there is no such VM."""
        ...

    def list(self) -> Mapping[str, str]:
        """The full names published now, and their addresses."""
        ...

    def status(self) -> NameStatus:
        """How names are served and wired."""
        ...

    async def close(self) -> None:
        """Stop serving. The records and the wiring stay: VMs outlive the daemon."""
        ...


class Wanted(Struct, frozen=True):
    """What the host's resolver shall know.

    ``table`` has the address of each name, ``links`` the TAPs of the published VMs, ``server``
    is ``ADDRESS:PORT`` or empty. Without links nothing shall be left of us.
    """

    table: Mapping[str, str]
    links: Mapping[str, str]
    server: str


class ResolverWiring(Protocol):
    """Tells the host's resolver about the names."""

    name: str

    async def wire(self, wanted: Wanted) -> None:
        """Make it so; does nothing if it is so already.

        Raises ``Conflict`` if another user's names are wired, ``PermissionRefused`` without a
        root side, ``HostNotReady`` if the resolver refuses.
        """
        ...

    def leftover(self) -> bool:
        """Whether something of this user's is wired, by this daemon or by an earlier one."""
        ...
