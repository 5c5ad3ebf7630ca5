from __future__ import annotations

import os
import time

from banger.host import process, process_usage


def test_fields_are_found_behind_any_name() -> None:
    numbers = [str(number) for number in range(4, 53)]
    stat = f"42 (a (b) 1 2 c) S {' '.join(numbers)}"
    assert process_usage.parse_stat(stat, ticks=100, page=4096) == ((14 + 15) / 100, 24 * 4096)


def test_our_own_use() -> None:
    ticks = process.start_ticks(os.getpid())
    assert ticks is not None
    before = process_usage.read(os.getpid(), ticks)
    assert before is not None
    limit = time.process_time() + 0.05
    while time.process_time() < limit:
        pass
    after = process_usage.read(os.getpid(), ticks)
    assert after is not None
    assert 0.02 <= after.cpu_seconds - before.cpu_seconds < 5
    assert after.proportional_bytes is not None
    assert 1 << 20 < after.proportional_bytes <= after.resident_bytes < 1 << 34


def test_another_process_of_the_same_pid_is_not_it() -> None:
    ticks = process.start_ticks(os.getpid())
    assert ticks is not None
    assert process_usage.read(os.getpid(), ticks + 1) is None


def test_no_process() -> None:
    assert process_usage.read(2**22 + 1, 1) is None
