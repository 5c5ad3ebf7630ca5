"""What one process has used of the host: processor time and memory, from ``/proc`` (proc(5))."""

from __future__ import annotations

import os
import re
from pathlib import Path

from msgspec import Struct

from banger.host.process import parse_start_ticks

_PROC = Path("/proc")
_KIB = 1024
_SUM = re.compile(r"^(Rss|Pss):\s+(\d+) kB$", re.MULTILINE)


class Usage(Struct, frozen=True):
    """Seconds of one core since the start, and bytes now; ``None``: it is hidden from us."""

    cpu_seconds: float
    resident_bytes: int
    proportional_bytes: int | None


def read(pid: int, start_ticks: int) -> Usage | None:
    """The usage of the process that began at ``start_ticks``; ``None`` if that one is gone.

    Blocking: the kernel walks all of its memory, about 5 ms for each GiB.
    """
    folder = _PROC / str(pid)
    try:
        stat = (folder / "stat").read_text(errors="replace")
    except OSError:
        return None
    if parse_start_ticks(stat) != start_ticks:
        return None
    cpu_seconds, resident = parse_stat(
        stat, ticks=os.sysconf("SC_CLK_TCK"), page=os.sysconf("SC_PAGE_SIZE")
    )
    try:
        sums = dict(_SUM.findall((folder / "smaps_rollup").read_text(encoding="ascii")))
        # Counted page by page; the other file's figure is some pages behind for each thread.
        return Usage(cpu_seconds, int(sums["Rss"]) * _KIB, int(sums["Pss"]) * _KIB)
    except (OSError, KeyError):
        return Usage(cpu_seconds, resident, None)


def parse_stat(stat: str, *, ticks: int, page: int) -> tuple[float, int]:
    """Processor seconds of all threads (fields 14 and 15) and resident bytes (field 24).

    ``ticks`` a second are the kernel's unit of time, ``page`` bytes that of memory.
    """
    # The name in field 2 is free text and may hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * page
