"""Checks ports that are to be published, and tells whose a taken one is."""

from __future__ import annotations

from collections.abc import Sequence

from banger.errors import AlreadyExists, InvalidInput, PermissionRefused
from banger.model.network import FIRST_USER_PORT, PROTOCOLS, Forward
from banger.service.context import Context
from banger.store.resources import Taken


def check(context: Context, network: str, name: str, forwards: Sequence[Forward]) -> None:
    """Raises unless a VM ``name`` on ``network`` may publish all of ``forwards`` together.

    ``InvalidInput`` for a port that none can be or one that leads to two of the guest's,
    ``PermissionRefused`` for one of root's.
    """
    for forward in forwards:
        ports = (forward.host_port, forward.guest_port)
        if forward.protocol not in PROTOCOLS or not all(0 < port < 65536 for port in ports):
            raise InvalidInput(
                f"{forward} cannot be published",
                cause=f"the protocol is one of {', '.join(PROTOCOLS)}, a port lies in 1 to 65535",
                resolution="banger vm forward NAME 8080:80",
            )
        # A VMM with a network of its own listens itself, and never runs as root.
        by_root = context.uid == 0 and context.drivers.networks[network].live
        if forward.host_port < FIRST_USER_PORT and not by_root:
            raise PermissionRefused(
                f"port {forward.host_port} of the host cannot be published for {name}",
                cause=f"ports below {FIRST_USER_PORT} belong to root",
                resolution=f"banger vm forward {name} 8080:{forward.guest_port}",
            )
    wanted = set(forwards)
    if len({forward.reservation() for forward in wanted}) < len(wanted):
        raise InvalidInput(
            f"a port of the host cannot lead to two ports of {name}",
            cause="asked for: " + ", ".join(map(str, forwards)),
            resolution="give each port of the host once",
        )


def taken(context: Context, conflict: Taken) -> AlreadyExists:
    """The refusal of a port that another VM publishes."""
    holder = context.vms.get(conflict.owner_id)
    name = holder.name if holder else conflict.owner_id
    return AlreadyExists(
        f"port {conflict.key} of the host is taken",
        cause=f"it is kept for VM {name}",
        resolution=f"banger show {name}, or choose another port",
    )
