from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.model.lifecycle import VMState
from banger.model.storage import DiskUsage
from banger.service import fill_watch
from banger.service.fill_watch import FillWatch, Level, level_of, pause_at, seconds_until_next
from banger.service.requests import BuildRequest, CreateRequest
from tests.fakes.house import House
from tests.fakes.world import FakeStore, FakeVMM

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("used", "limit", "level"),
    [
        (0, 8 * GIB, Level.FINE),
        (8 * GIB * 79 // 100, 8 * GIB, Level.FINE),
        (8 * GIB * 80 // 100, 8 * GIB, Level.FILLING),
        (8 * GIB * 94 // 100, 8 * GIB, Level.FILLING),
        (8 * GIB * 95 // 100, 8 * GIB, Level.FULL),
        (47 * MIB, 64 * MIB, Level.FILLING),
        (48 * MIB, 64 * MIB, Level.FULL),
        (16 * MIB, 32 * MIB, Level.FULL),
    ],
)
def test_levels(used: int, limit: int, level: Level) -> None:
    assert level_of(DiskUsage(used, limit)) is level


@given(st.integers(MIB, 1 << 44), st.floats(0, 1))
def test_no_guest_fills_a_layer_between_two_looks(limit: int, part: float) -> None:
    usage = DiskUsage(int(pause_at(limit) * part), limit)
    pause = seconds_until_next(usage)
    assert fill_watch.SHORTEST <= pause <= fill_watch.LONGEST
    if pause > fill_watch.SHORTEST:
        assert usage.used_bytes + pause * fill_watch.FASTEST <= pause_at(limit) + 1
    assert pause_at(limit) <= limit - min(fill_watch.IN_FLIGHT, limit // 2)


class Filling:
    """A running VM whose layer breaks when it is full."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house, self.used, self.calls = house, 0, list[str]()
        self.watch = FillWatch(house.context, house.operations)
        self.events: list[str] = []
        publish = house.context.events.publish

        def published(kind: str, subject: Any) -> None:
            self.events.append(kind)
            publish(kind, subject)

        async def paused(_vmm: object, _socket: Path) -> None:
            self.calls.append("pause")

        async def resumed(_vmm: object, _socket: Path) -> None:
            self.calls.append("resume")

        monkeypatch.setattr(house.context.events, "publish", published)
        monkeypatch.setattr(FakeVMM, "pause", paused)
        monkeypatch.setattr(FakeVMM, "resume", resumed)
        monkeypatch.setattr(FakeStore, "breaks_when_full", True)
        monkeypatch.setattr(FakeStore, "grows_live", True)
        monkeypatch.setattr(
            FakeStore, "usage", lambda _store, spec: DiskUsage(self.used, spec.overlay_bytes)
        )

    @property
    def shown(self) -> tuple[VMState, str]:
        vm = self.house.vms.get("web")
        return vm.state, vm.problem.get("code", "")


@pytest.fixture
async def filling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filling:
    house = await House(tmp_path).start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    request = CreateRequest(name="web", memory_mib=64, overlay_bytes=GIB)
    await house.operations.wait((await house.vms.create(request)).id)
    started = await house.power.start("web", wait=True, timeout=5)
    await house.operations.wait(started.id)
    return Filling(house, monkeypatch)


async def test_a_vm_is_warned_paused_and_let_on(filling: Filling) -> None:
    assert await filling.watch.look() <= 0.5
    assert filling.shown == (VMState.RUNNING, "")
    filling.used, filling.events = GIB * 81 // 100, []
    await filling.watch.look()
    await filling.watch.look()
    assert filling.shown == (VMState.RUNNING, "layer_full")
    assert filling.events == ["vm"]
    filling.used = GIB * 96 // 100
    await filling.watch.look()
    await filling.watch.look()
    assert filling.shown == (VMState.PAUSED, "layer_full")
    assert filling.calls == ["pause"]
    problem = filling.house.vms.get("web").problem
    assert problem["resolution"] == "banger vm set web --overlay-size 2048M"
    assert "paused" in problem["brief"]
    filling.used = 0
    await filling.watch.look()
    assert filling.shown == (VMState.RUNNING, "")
    assert filling.calls == ["pause", "resume"]


async def test_who_resumes_a_full_vm_finds_it_paused_again(filling: Filling) -> None:
    filling.used = GIB * 96 // 100
    await filling.watch.look()
    operation = await filling.house.power.resume("web")
    await filling.house.operations.wait(operation.id)
    assert filling.shown == (VMState.RUNNING, "")
    await filling.watch.look()
    assert filling.shown == (VMState.PAUSED, "layer_full")


async def test_a_vm_that_is_busy_is_paused_as_soon_as_it_is_not(
    filling: Filling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop of a guest needs its help; a change of its rules does not take long."""
    filling.used = GIB * 96 // 100
    operations, busy = filling.house.operations, True
    idle = operations.busy_with
    monkeypatch.setattr(operations, "busy_with", lambda vm_id: object() if busy else idle(vm_id))
    assert await filling.watch.look() == fill_watch.SHORTEST
    assert filling.shown == (VMState.RUNNING, "")
    busy = False
    await filling.watch.look()
    assert filling.shown == (VMState.PAUSED, "layer_full")
    assert filling.calls == ["pause"]


async def test_what_the_user_paused_stays_so(filling: Filling) -> None:
    await filling.house.operations.wait((await filling.house.power.pause("web")).id)
    for used in (GIB, 0):
        filling.used = used
        await filling.watch.look()
        assert filling.shown == (VMState.PAUSED, "")
    assert filling.calls == ["pause"]


async def test_a_layer_that_cannot_be_measured_is_passed_over(
    filling: Filling, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_store: object, _spec: object) -> DiskUsage:
        raise OSError

    monkeypatch.setattr(FakeStore, "usage", fail)
    assert await filling.watch.look() == fill_watch.LONGEST


async def test_other_layers_are_nobodys_concern(
    filling: Filling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeStore, "breaks_when_full", False)
    filling.used = GIB
    assert await filling.watch.look() == fill_watch.LONGEST
    assert filling.shown == (VMState.RUNNING, "")
