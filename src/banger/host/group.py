"""Ends the process group of a child whole, however often its task is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

#: How long a program that was told to end (SIGTERM) may take before it is killed, in seconds.
TERMINATE_GRACE = 2.0


async def started(
    starting: asyncio.Task[asyncio.subprocess.Process],
) -> asyncio.subprocess.Process:
    """The child that ``starting`` starts; ended again if this is cancelled meanwhile.

    asyncio drops a child that is cancelled twice while it is started. Raises what it raises.
    """
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        while not starting.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([starting])
        if not starting.cancelled() and starting.exception() is None:
            await end(starting.result())
        raise


async def end(process: asyncio.subprocess.Process) -> None:
    """End and reap the child and all of its group. Cancelled, it only ends them at once."""
    cancelled = False
    signal_to(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(TERMINATE_GRACE):
            await process.wait()
    except TimeoutError:
        pass
    except asyncio.CancelledError:
        cancelled = True
    # Also when the leader ended in order: its own children may have stayed behind.
    signal_to(process.pid, signal.SIGKILL)
    while process.returncode is None:
        try:
            await process.wait()
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def signal_to(group: int, number: int) -> None:
    """Signal a whole process group, if there is any of it that we may signal."""
    # PermissionError: every member has changed its user and is beyond our reach.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
