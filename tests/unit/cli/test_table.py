from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from banger.cli.listing import Field, sort_items
from banger.cli.sheet import wrap
from banger.cli.table import NARROWEST, Column, render_table
from banger.cli.text import width

CELLS = st.text(st.characters(codec="utf-8"), max_size=30)


def test_columns_are_aligned() -> None:
    columns = [Column("a", "A"), Column("b", "BB", right=True), Column("c", "C")]
    assert render_table(columns, [["x", "1", "p"], ["yyy", "22", "q"]]) == [
        "A    BB  C",
        "x     1  p",
        "yyy  22  q",
    ]
    assert render_table(columns, [["x", "1", ""]], header=False) == ["x  1"]


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5), st.integers(24, 120))
def test_lines_fit(rows: list[list[str]], limit: int) -> None:
    columns = [Column(key, key.upper()) for key in "abc"]
    for line in render_table(columns, rows, columns_wide=limit):
        assert width(line) <= max(limit, 3 * NARROWEST + 4)
        assert "\n" not in line


def test_the_widest_column_gives_way() -> None:
    columns = [Column("a", "A", shrink=False), Column("b", "B"), Column("c", "C")]
    line = render_table(columns, [["x" * 10, "y" * 10, "z" * 40]], columns_wide=40)[1]
    assert line == "x" * 10 + "  " + "y" * 10 + "  " + "z" * 15 + "…"


def test_sorting_puts_the_empty_last_and_is_stable() -> None:
    fields = [Field("name", "NAME", str), Field("n", "N", str)]
    items: list[dict[str, object]] = [
        {"name": "b", "n": 2},
        {"name": "c", "n": None},
        {"name": "a", "n": 2},
        {"name": "d"},
    ]
    assert [i["name"] for i in sort_items(items, fields, "n")] == ["a", "b", "c", "d"]
    assert [i["name"] for i in sort_items(items, fields, "-name")] == ["d", "c", "b", "a"]


@given(st.text(alphabet="ab ", max_size=80), st.integers(1, 30))
def test_wrapping_loses_no_word(text: str, room: int) -> None:
    assert " ".join(wrap(text, room)).split() == text.split()


def test_long_words_stay_whole() -> None:
    assert wrap("a" * 30, 10) == ["a" * 30]
    assert wrap("see " + "a" * 30 + " there", 10) == ["see", "a" * 30, "there"]
