from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.cli.moments import age, unix_time
from banger.cli.text import clean, pad, shorten, width
from banger.cli.units import (
    GIB,
    MIB,
    format_age,
    format_size,
    parse_duration,
    parse_size,
)

UNITS = {"K": 1024, "M": MIB, "G": GIB, "T": 1024 * GIB}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512 * MIB),
        ("512M", 512 * MIB),
        ("512m", 512 * MIB),
        ("512MB", 512 * MIB),
        ("512MiB", 512 * MIB),
        ("2G", 2 * GIB),
        ("2 GiB", 2 * GIB),
        ("1.5G", GIB + GIB // 2),
        ("0.25T", 256 * GIB),
        ("100K", 100 * 1024),
        ("4096B", 4096),
        (" 7 ", 7 * MIB),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "-1", "1e3", "2GG", "G", ".5G", "5.", "0x10", "1,5G", "1.5B", "1iB", "2P", "\u0661"],
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.integers(0, 10**9), st.sampled_from(sorted(UNITS)), st.sampled_from(["", "B", "iB"]))
def test_sizes_of_every_unit(number: int, unit: str, suffix: str) -> None:
    assert parse_size(f"{number}{unit}{suffix}") == number * UNITS[unit]
    assert parse_size(f"{number}{unit.lower()}") == number * UNITS[unit]


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert size >= 0


# 8 PiB: no disk of ours is near it.
@given(st.integers(0, 1 << 53))
def test_shown_sizes_are_short_and_near(size: int) -> None:
    text = format_size(size)
    assert len(text) <= 12
    assert abs(parse_size(text, 1) - size) <= max(size * 0.05, 0.5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("1.5s", 1.5), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("0", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ValueError:
        return


def test_ages() -> None:
    shown = [format_age(s) for s in (0, 59, 60, 3599, 3600, 7500, 36000, 86400, 200000, 1e7)]
    assert shown == ["0s", "59s", "1m", "59m", "1h", "2h5m", "10h", "1d", "2d7h", "115d"]
    assert age("2026-01-02T03:04:05Z", unix_time("2026-01-02T03:05:05+00:00")) == "1m"
    assert age(None) == age("") == age("yesterday") == "-"


def test_width_counts_columns() -> None:
    assert width("abc") == 3
    assert width("日本") == 4
    assert width("e\u0301") == 1
    assert shorten("日本語", 4) == "日…"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abc", 0) == ""
    assert pad("日本", 6, right=True) == "  日本"


@given(st.text())
def test_cleaned_text_has_no_control_characters(text: str) -> None:
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in clean(text))


@given(st.text(max_size=30), st.integers(0, 20))
def test_shortened_text_fits(text: str, columns: int) -> None:
    assert width(shorten(clean(text), columns)) <= columns
