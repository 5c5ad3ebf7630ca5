"""Ends a Firecracker whose guest has switched itself off: on x86 the machine has no switch.

The kernel says so in its last line on the console, and nothing comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from banger.drivers.vmm import console_log
from banger.drivers.vmm.firecracker import exit_reason
from banger.drivers.vmm.firecracker.boot_record import BootRecord
from banger.host import process

#: Seconds between two looks at the console's length, and after one that found it longer. Two equal
#: ones make an end.
PAUSE, SHORT_PAUSE = 0.4, 0.2
#: How much of the console's end is read, in bytes.
_TAIL = 512


async def end_when_halted(record: BootRecord, end: Callable[[BootRecord], Awaitable[None]]) -> None:
    """Return when the process was ended by ``end`` because its guest had halted; else never."""
    await _until_halted(Path(record.console_log), record.console_bytes)
    if note_end(record, "halted"):
        await end(record)


async def _until_halted(console: Path, start: int) -> None:
    before = seen = -1
    while True:
        size = console_log.size_of(console)
        if size == before != seen:
            seen = size
            if exit_reason.says_halted(console_log.read_tail(console, _TAIL, start)):
                return
        pause = PAUSE if size == before else SHORT_PAUSE
        before = size
        await asyncio.sleep(pause)


def note_end(record: BootRecord, why: str) -> bool:
    """Write into the events why the process is about to be ended; False if it is gone."""
    if process.start_ticks(record.pid) != record.start_ticks:
        return False
    if not process.carries_mark(process.argv_of(record.pid), record.process_name):
        return False
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(record.events, flags)
        try:
            os.write(descriptor, exit_reason.note(ended=why))
        finally:
            os.close(descriptor)
    return True
