from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from banger.host import memory


def test_available_memory_is_plausible() -> None:
    assert 1 < memory.available_mib() < 1 << 30


def test_the_line_is_found() -> None:
    text = "MemTotal:       24684092 kB\nMemFree:         1 kB\nMemAvailable:   2097152 kB\n"
    assert memory.parse_available_mib(text) == 2048


@given(st.text())
def test_odd_text_is_no_memory(text: str) -> None:
    assert memory.parse_available_mib(text) >= 0
