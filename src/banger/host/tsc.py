"""Measures the rate of the host's time stamp counter, which guests under emulation must be told.

A guest of QEMU's ``microvm`` machine under TCG has no other clock to calibrate its TSC
against, and stands still for ever when it guesses wrong on a busy host.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import time
from collections.abc import Callable
from pathlib import Path

_RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
#: Length of one measurement in seconds: the error of reading two clocks, well under a
#: microsecond, becomes less than one part in 10^5; Linux itself accepts one in 100.
_SPAN = 0.05
#: Tries at reading both clocks without being descheduled in between.
_TRIES = 20
_KNOWN = Path("/sys/devices/system/cpu/cpu0/tsc_freq_khz")


@functools.cache
def tsc_khz() -> int | None:
    """The rate in kHz, measured once per process in about 50 ms (blocking).

    ``None`` on a host without a TSC, or where no memory may be made executable.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        return int(_KNOWN.read_text())
    except (OSError, ValueError):
        pass
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    code.write(_RDTSC)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    # The map is never closed: the function below lives as long as the process.
    return measure(ctypes.CFUNCTYPE(ctypes.c_uint64)(address), time.monotonic_ns, _SPAN)


def measure(counter: Callable[[], int], clock_ns: Callable[[], int], span: float) -> int:
    """Ticks of ``counter`` per millisecond of ``clock_ns``, over ``span`` seconds."""
    start_ns, start = _both(counter, clock_ns)
    time.sleep(span)
    end_ns, end = _both(counter, clock_ns)
    return round((end - start) * 1_000_000 / (end_ns - start_ns))


def _both(counter: Callable[[], int], clock_ns: Callable[[], int]) -> tuple[int, int]:
    """Both clocks at one moment: the reading that took the least time of several."""
    best: tuple[int, int, int] | None = None
    for _ in range(_TRIES):
        before = clock_ns()
        ticks = counter()
        after = clock_ns()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, ticks)
    assert best is not None  # noqa: S101 - _TRIES is not zero
    return best[1], best[2]
