"""The measured rate of the time stamp counter."""

from __future__ import annotations

import itertools
import platform
from pathlib import Path

import pytest

from banger.host import tsc


def test_the_rate_is_ticks_per_millisecond() -> None:
    time_ns = itertools.count(0, 1_000)
    now = {"ns": 0}

    def clock() -> int:
        now["ns"] = next(time_ns)
        return now["ns"]

    assert tsc.measure(lambda: (now["ns"] + 500) * 3, clock, 0.0) == 3_000_000


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has a TSC")
def test_two_measurements_of_this_host_agree() -> None:
    first = tsc.tsc_khz()
    tsc.tsc_khz.cache_clear()
    second = tsc.tsc_khz()
    assert first is not None
    assert second is not None
    assert abs(first - second) <= first / 1000
    assert 500_000 < first < 10_000_000


def test_a_host_without_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    tsc.tsc_khz.cache_clear()
    assert tsc.tsc_khz() is None
    tsc.tsc_khz.cache_clear()


def test_a_rate_that_the_kernel_tells_is_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = tmp_path / "tsc_freq_khz"
    known.write_text("1234567\n")
    monkeypatch.setattr(tsc, "_KNOWN", known)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    tsc.tsc_khz.cache_clear()
    assert tsc.tsc_khz() == 1234567
    tsc.tsc_khz.cache_clear()
