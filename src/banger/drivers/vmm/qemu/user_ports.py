"""Publishes ports of QEMU's user-mode network while the VM runs."""

from __future__ import annotations

from collections.abc import Sequence

from banger.drivers.vmm.qemu.monitor import Monitor
from banger.errors import Conflict
from banger.model.network import Forward


def changes(before: Sequence[Forward], after: Sequence[Forward]) -> tuple[list[str], list[str]]:
    """The commands of the human monitor: those whose failure is of no account, and the others."""
    gone = [forward for forward in before if forward not in after]
    come = [forward for forward in after if forward not in before]
    # What comes may be there already, after a change that was interrupted.
    removals = [f"hostfwd_remove net {f.protocol}:0.0.0.0:{f.host_port}" for f in (*gone, *come)]
    additions = [
        f"hostfwd_add net {f.protocol}:0.0.0.0:{f.host_port}-:{f.guest_port}" for f in come
    ]
    return removals, additions


async def publish(monitor: Monitor, before: Sequence[Forward], after: Sequence[Forward]) -> None:
    """Raises ``Conflict`` for a port that QEMU cannot have."""
    removals, additions = changes(before, after)
    for command in removals:
        await monitor.human(command)
    for command in additions:
        answer = await monitor.human(command)
        if answer.strip():
            raise Conflict(
                "the VMM cannot publish the port",
                cause=f"{command}: {answer.strip()[:200]}",
                resolution="ss -ltnup, then choose a free port",
            )
