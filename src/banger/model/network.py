"""The network lease of a VM: addresses that stay the same until the VM is deleted."""

from __future__ import annotations

from dataclasses import dataclass


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
