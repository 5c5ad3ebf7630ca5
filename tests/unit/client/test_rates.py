from __future__ import annotations

from typing import Any, cast

from banger.client.rates import with_rates
from banger.client.views import StatsView


def look(**changes: Any) -> StatsView:
    one = {
        "id": "0123456789ab", "name": "web", "vcpus": 4, "started_at": "2026-01-02T03:04:05Z",
        "read_at": 100.0, "cpu_seconds": 10.0, "disk_read_bytes": 1000, "disk_written_bytes": 0,
        "received_bytes": None, "sent_bytes": 7,
    }  # fmt: skip
    return cast("StatsView", one | changes)


def test_rates_are_of_two_looks() -> None:
    later = look(read_at=102.0, cpu_seconds=13.0, disk_read_bytes=5000, sent_bytes=8)
    [shown] = with_rates([look()], [later])
    assert (shown["cpu_percent"], shown["vcpu_percent"]) == (150.0, 37.5)
    assert (shown["disk_read_rate"], shown["disk_written_rate"]) == (2000, 0)
    assert (shown["received_rate"], shown["sent_rate"]) == (None, 0)
    assert shown["interval_seconds"] == 2.0
    assert shown["disk_read_bytes"] == 5000


def test_one_look_is_no_rate() -> None:
    for before in ([], [look(id="another")], [look(started_at="2025")], [look()]):
        [shown] = with_rates(before, [look()])
        assert (shown["cpu_percent"], shown["vcpu_percent"]) == (None, None)
        assert shown["disk_read_rate"] is None
        assert shown["interval_seconds"] == 0


def test_a_counter_that_was_set_back_never_makes_less_than_nothing() -> None:
    later = look(read_at=101.0, sent_bytes=5)
    assert with_rates([look()], [later])[0]["sent_rate"] == 5


def test_a_vm_that_ended_is_not_shown() -> None:
    assert with_rates([look()], []) == []
