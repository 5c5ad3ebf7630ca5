"""Blocking work in a thread that is never left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


async def in_thread(work: Callable[[Callable[[], bool]], _T]) -> _T:
    """Run ``work(stopped)`` in a thread and return its result.

    On cancellation ``stopped()`` becomes true, and the thread is waited for: whoever cleans
    up afterwards does not race with it. Work that cannot stop half-way ignores ``stopped``.
    """
    stop = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop.is_set))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen, and of no interest any more
        raise
