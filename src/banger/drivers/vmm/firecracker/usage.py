"""What a Firecracker uses, asked of its API and of the host; and its logs, which must not grow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from banger.drivers.vmm import child, console_log
from banger.drivers.vmm.base import COUNTERS_TIMEOUT, Counters
from banger.drivers.vmm.firecracker import bodies, client, metrics, workspace
from banger.errors import DeadlineExceeded, VMMFailed
from banger.model.vm import Machine


async def counters(machine: Machine, monitor_socket: Path, events: Path) -> Counters:
    """See ``drivers.vmm.base.VMM.counters``."""
    # What it has counted since the last line becomes a line; without that, up to a minute is
    # missing.
    with contextlib.suppress(VMMFailed, DeadlineExceeded):
        await client.call(monitor_socket, bodies.FLUSH_METRICS, timeout=COUNTERS_TIMEOUT)
    disks: child.DiskCounters | None = None
    with contextlib.suppress(OSError):
        disks = await asyncio.to_thread(metrics.counted, workspace.metrics_of(events))
    return await child.counters(machine, disks)


def bound(logs: Sequence[Path]) -> None:
    """See ``drivers.vmm.base.VMM.bound_logs``."""
    for log in logs:
        with contextlib.suppress(OSError):
            console_log.bound(log)
        with contextlib.suppress(OSError):
            metrics.bound(workspace.metrics_of(log))
