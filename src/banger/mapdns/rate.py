"""Limits how many questions each source may ask."""

from __future__ import annotations

from collections import OrderedDict

#: Questions a second that one source is answered for ever, and at once after a quiet time.
PER_SECOND = 100.0
BURST = 200.0
#: Sources remembered; the longest unheard is forgotten first. Bounds the memory it takes.
SOURCES = 1024


class Rate:
    """A bucket of ``burst`` questions for each source, refilled with ``per_second``."""

    def __init__(self, per_second: float = PER_SECOND, burst: float = BURST) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, source: str, now: float) -> bool:
        """Take one question of ``source`` at ``now`` (seconds, monotonic); False if too many."""
        left, then = self._buckets.pop(source, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_second)
        allowed = left >= 1
        self._buckets[source] = (left - 1 if allowed else left, now)
        if len(self._buckets) > SOURCES:
            self._buckets.popitem(last=False)
        return allowed
