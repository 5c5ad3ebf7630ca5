"""The network lease of a VM: addresses that stay the same until the VM is deleted."""

from __future__ import annotations

from dataclasses import dataclass

PROTOCOLS = ("tcp", "udp")
#: Ports of the host below this belong to root (Linux: ip_unprivileged_port_start).
FIRST_USER_PORT = 1024


@dataclass(frozen=True, slots=True, order=True)
class Forward:
    """A port of the host that leads to a port of a guest. ``protocol`` is one of PROTOCOLS."""

    protocol: str
    host_port: int
    guest_port: int

    def __str__(self) -> str:
        suffix = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"{self.host_port}:{self.guest_port}{suffix}"

    def reservation(self) -> tuple[str, str]:
        """The ``(kind, key)`` that must be unique; TCP shares its kind with SSH ports."""
        return ("port" if self.protocol == "tcp" else "udp-port", str(self.host_port))


@dataclass(frozen=True, slots=True)
class Reach:
    """What a VM's packets may reach, and what reaches it; the host always reaches it.

    ``internet``: whatever the host reaches, by NAT. ``isolated``: no other VM. ``host``: every
    service of the host, and not only ping and DNS. ``forwards``: the ports published for it.
    """

    internet: bool = False
    isolated: bool = False
    host: bool = False
    forwards: tuple[Forward, ...] = ()

    def reservations(self) -> tuple[tuple[str, str], ...]:
        """The ``(kind, key)`` pairs that must be unique among one user's VMs."""
        return tuple(forward.reservation() for forward in self.forwards)


#: Nothing but the host, and other VMs of the same user.
CLOSED = Reach()


@dataclass(frozen=True, slots=True)
class Lease:
    """Everything about a VM's one interface that survives stop and start.

    ``kind`` is the network driver (``tap`` or ``user``). ``address`` and ``gateway`` are the
    guest's view. ``ssh_host`` and ``ssh_port`` are where the *host* reaches the guest's port
    22: the guest's own address for ``tap``, a forwarded loopback port for ``user``.
    ``nameservers`` are written into the guest's resolv.conf.
    """

    kind: str
    mac: str
    address: str
    prefix_length: int
    gateway: str
    tap: str
    ssh_host: str
    ssh_port: int
    nameservers: tuple[str, ...] = ()

    def reservations(self) -> tuple[tuple[str, str], ...]:
        """The ``(kind, key)`` pairs that must be unique among one user's VMs."""
        keys = [("mac", self.mac)]
        if self.kind == "tap":
            keys += [("address", self.address), ("tap", self.tap)]
        else:
            keys.append(("port", str(self.ssh_port)))
        return tuple(keys)

    def obstacle(self) -> tuple[str, str]:
        """When others hold what it needs of the host: the cause, and the command to type."""
        if self.tap:
            cause = f"the interface {self.tap} exists and carries no mark of this VM"
            return cause, f"ip -details link show {self.tap}, then end the program that made it"
        cause = f"another program listens on port {self.ssh_port} of {self.ssh_host}"
        return cause, f"ss -ltnp sport = :{self.ssh_port}, then end that program"
