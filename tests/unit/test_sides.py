"""Which tests may run beside which, in two processes."""

from __future__ import annotations

import itertools

import pytest

from tests.plugins.ladder import LONGEST, RUNGS, TESTS, place
from tests.plugins.sides import HOST, side_of


@pytest.mark.parametrize(
    ("nodeid", "side"),
    [
        ("tests/unit/test_sides.py::test_this[a]", "tests/unit/test_sides.py"),
        ("tests/style/test_words.py::test_words", "tests/style/test_words.py"),
        ("tests/contract/test_storage.py::test_life_of_a_layer[copy]", HOST),
        ("tests/integration/test_examples.py::test_one", HOST),
        ("tests/e2e/test_nat.py::test_one[here]", HOST),
        ("tests/lab/test_user.py::test_one[lab-reboot]", "tests/lab/test_user.py"),
        ("tests/lab/test_user.py::test_one[here-reboot]", HOST),
    ],
)
def test_what_stays_in_one_process(nodeid: str, side: str) -> None:
    assert side_of(nodeid, TESTS.parent) == side


def test_rungs_climb_and_the_labs_long_files_come_first() -> None:
    files = [sorted((TESTS / rung).rglob("test_*.py")) for rung in RUNGS]
    places = [[place(path) for path in found] for found in files]
    assert all(places)
    for lower, upper in itertools.pairwise(places):
        assert max(lower) < min(upper)
    lab = sorted(files[-1], key=place)
    assert [path.name for path in lab[: len(LONGEST)]] == list(LONGEST)
