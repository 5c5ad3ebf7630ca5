"""Makes rates of two looks at a VM's counters (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from banger.client.views import JSONObject, StatsView

#: Counter -> the name of its rate, in bytes or packets a second.
RATES = {
    "disk_read_bytes": "disk_read_rate",
    "disk_written_bytes": "disk_written_rate",
    "received_bytes": "received_rate",
    "sent_bytes": "sent_rate",
}


def with_rates(before: Sequence[StatsView], after: Sequence[StatsView]) -> list[JSONObject]:
    """What stands in ``after``, each with the rates since the same boot in ``before``.

    ``cpu_percent`` is of one core, ``vcpu_percent`` of all cores that the guest has. A rate is
    None where there is nothing to compare with.
    """
    earlier = {one["id"]: one for one in before}
    return [rated(earlier.get(one["id"]), one) for one in after]


def rated(before: StatsView | None, after: StatsView) -> JSONObject:
    """``after`` with the rates since ``before``, as ``with_rates`` describes them."""
    shown: JSONObject = dict(after)
    seconds = _seconds(before, after)
    cpu = cpu_rate(before, after)
    shown["cpu_percent"] = None if cpu is None else round(100 * cpu, 1)
    shown["vcpu_percent"] = None if cpu is None else round(100 * cpu / after["vcpus"], 1)
    for counter, name in RATES.items():
        rate = _rate(before, after, counter, seconds)
        shown[name] = None if rate is None else round(rate)
    shown["interval_seconds"] = round(seconds, 3)
    return shown


def cpu_rate(before: StatsView | None, after: StatsView) -> float | None:
    """The cores that were busy since ``before``; None where that is of another boot."""
    return _rate(before, after, "cpu_seconds", _seconds(before, after))


def _seconds(before: StatsView | None, after: StatsView) -> float:
    """Between two looks at the same boot; else 0."""
    if before is None or before["started_at"] != after["started_at"]:
        return 0.0
    return after["read_at"] - before["read_at"]


def _rate(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], counter: str, seconds: float
) -> float | None:
    if before is None or seconds <= 0:
        return None
    first, last = before.get(counter), after.get(counter)
    if first is None or last is None:
        return None
    # A counter that fell was set back: what it holds now is all that is known.
    return float(last - first if last >= first else last) / seconds
