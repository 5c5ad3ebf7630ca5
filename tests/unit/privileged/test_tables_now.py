"""What the tables say is read again exactly when somebody else can have changed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from banger.privileged import nat, set_kernel, tables_now
from banger.privileged.calls import NatClear
from banger.privileged.ruleset import Guest, Rules


def rules(*taps: str) -> Rules:
    guests = {tap: Guest(tap, "02:00:00:00:00:01", "10.0.0.2") for tap in taps}
    return Rules(guests, current=True)


@dataclass
class Kernel:
    """The kernel's tables and the number of its changes."""

    generation: int = 7
    namespace: int = 1
    tables: dict[str, Rules] = field(default_factory=lambda: {"banger_0": rules("a")})
    looks: int = 0
    #: Something happens while the tables are being read.
    restless: bool = False

    def look(self) -> dict[str, Rules]:
        self.looks += 1
        self.generation += self.restless
        return dict(self.tables)

    def write(self, name: str, content: Rules) -> None:
        self.generation += 1
        self.tables[name] = content

    def read(self) -> tables_now.Reading:
        reading = tables_now.read(self.look)
        assert reading.tables == self.tables
        return reading


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(set_kernel, "generation", lambda: made.generation)
    monkeypatch.setattr(tables_now, "_namespace", lambda: made.namespace)
    monkeypatch.setattr(tables_now, "_last", tables_now.Reading(-1, -1, {}))
    return made


def test_nothing_is_read_twice_while_nothing_changes(kernel: Kernel) -> None:
    kernel.read()
    kernel.read()
    assert kernel.looks == 1


def test_a_change_of_ours_is_known_without_reading(kernel: Kernel) -> None:
    for taps in (("a", "b"), ("b",)):
        before = kernel.read()
        kernel.write("banger_0", rules(*taps))
        tables_now.changed(before, "banger_0", rules(*taps))
    kernel.read()
    assert kernel.looks == 1


def test_a_change_of_somebody_elses_is_read(kernel: Kernel) -> None:
    kernel.read()
    kernel.write("banger_0", rules())
    kernel.read()
    assert kernel.looks == 2


@pytest.mark.parametrize("order", ["theirs first", "ours first"])
def test_one_beside_ours_is_read(kernel: Kernel, order: str) -> None:
    before = kernel.read()
    if order == "theirs first":
        # They change our table, and a call for another user has a look in between.
        kernel.write("banger_0", rules("foreign"))
        kernel.read()
    kernel.write("banger_1", rules("b"))
    if order == "ours first":
        kernel.write("banger_0", rules("foreign"))
    looks = kernel.looks
    tables_now.changed(before, "banger_1", rules("b"))
    kernel.read()
    assert kernel.looks == looks + 1


def test_what_was_read_in_a_restless_moment_is_not_kept(kernel: Kernel) -> None:
    kernel.restless = True
    before = tables_now.read(kernel.look)
    kernel.restless = False
    kernel.write("banger_0", rules("b"))
    tables_now.changed(before, "banger_0", rules("b"))
    kernel.read()
    assert kernel.looks == 2


def test_another_network_has_other_tables(kernel: Kernel) -> None:
    kernel.read()
    kernel.namespace, kernel.tables = 2, {}
    kernel.read()
    assert kernel.looks == 2


def test_a_call_that_changes_nothing_takes_no_change_of_others_for_its_own(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The kernel counts one change, as after a change of ours; but it is another user's."""

    def change(*_: object) -> None:
        kernel.write("banger_0", rules("foreign"))

    # "lo" is the one interface of every host, and so the TAP that is still there.
    kernel.tables = {"banger_0": rules("a"), "banger_1": rules("lo")}
    monkeypatch.setattr(nat, "_LOCKS", tmp_path)
    monkeypatch.setattr(nat, "_tables", kernel.look)
    monkeypatch.setattr(set_kernel, "change", change)
    nat.clear(NatClear("bgrgone", ""), 1, lambda _: pytest.fail("no table is written"))
    assert kernel.read().tables["banger_0"] == rules("foreign")
