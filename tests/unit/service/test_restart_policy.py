"""VMs that shall always run are started again, and those that somebody stopped are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from banger.errors import VMMFailed
from banger.model.lifecycle import VMState
from banger.service import restart_policy
from banger.service.requests import BuildRequest, CreateRequest, SetRequest
from banger.service.restart_policy import RestartPolicy, pause_before
from banger.service.supervision import Supervisor
from tests.fakes.house import House
from tests.unit.service.test_crash import check_invariants


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_policy, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(restart_policy, "LAST_PAUSE", 0.002)


@asynccontextmanager
async def living(house: House) -> AsyncIterator[House]:
    """What the daemon does in the background."""
    supervisor = Supervisor(house.context, house.operations)
    policy = RestartPolicy(house.context, house.operations, house.power)
    tasks = [asyncio.create_task(work) for work in (supervisor.run(), policy.run())]
    try:
        yield house
    finally:
        supervisor.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await house.operations.idle()


async def with_vm(root: Path, restart: str = "always", *, start: bool = True) -> House:
    house = await House(root).start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    request = CreateRequest(name="web", memory_mib=64, restart=restart)
    await house.operations.wait((await house.vms.create(request)).id)
    if start:
        begun = await house.power.start("web", wait=True, timeout=5)
        await house.operations.wait(begun.id)
    return house


def crash(house: House) -> None:
    for path in (house.world.root / "processes").iterdir():
        path.unlink()


def lose_host(house: House) -> None:
    for kind in ("processes", "taps", "rules", "active"):
        for path in (house.world.root / kind).iterdir():
            path.unlink()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - as a user
            await asyncio.sleep(0.005)


def runs(house: House, after: float = 0.0) -> bool:
    vm = house.vms.get("web")
    return vm.state is VMState.RUNNING and vm.started_at > after


async def test_it_is_started_again_as_often_as_it_ends(tmp_path: Path) -> None:
    async with living(await with_vm(tmp_path)) as house:
        for _ in range(3):
            before = house.vms.get("web").started_at
            crash(house)
            await until(lambda: runs(house, before))  # noqa: B023 - awaited here
    check_invariants(house)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_what_somebody_ended_stays_so(tmp_path: Path, end: str) -> None:
    async with living(await with_vm(tmp_path)) as house:
        asked = house.power.stop("web", timeout=5) if end == "stop" else house.power.kill("web")
        await house.operations.wait((await asked).id)
    assert house.vms.get("web").state is VMState.STOPPED
    async with living(await House(tmp_path).start()) as later:
        await asyncio.sleep(0)
        await later.operations.idle()
    assert later.vms.get("web").state is VMState.STOPPED


async def test_without_the_policy_it_stays_ended(tmp_path: Path) -> None:
    async with living(await with_vm(tmp_path, "no")) as house:
        crash(house)
        await until(lambda: house.vms.get("web").state is VMState.STOPPED)
        await house.operations.idle()
        # What is chosen now is about ends to come.
        chosen = await house.change.set("web", SetRequest(restart="always"))
        await house.operations.wait(chosen.id)
        assert house.vms.get("web").spec.restart == "always"
    assert not restart_policy.is_due(house.vms.get("web"))
    assert house.vms.get("web").state is VMState.STOPPED


async def test_it_is_chosen_while_the_vm_runs(tmp_path: Path) -> None:
    async with living(await with_vm(tmp_path, "no")) as house:
        chosen = await house.change.set("web", SetRequest(restart="always"))
        await house.operations.wait(chosen.id)
        before = house.vms.get("web").started_at
        crash(house)
        await until(lambda: runs(house, before))


async def test_after_a_reboot_of_the_host(tmp_path: Path) -> None:
    first = await with_vm(tmp_path)
    lose_host(first)
    async with living(await House(tmp_path, boot_id="boot-2").start()) as second:
        await second.operations.idle()
        await until(lambda: runs(second))
    kinds = [operation.kind for operation in second.context.operations.all()]
    assert sorted(kinds[-2:]) == ["vm.exit", "vm.start"]
    check_invariants(second)


async def test_a_daemon_that_dies_while_it_starts_one_again_is_followed(tmp_path: Path) -> None:
    first = await with_vm(tmp_path)
    lose_host(first)
    second = House(tmp_path, boot_id="boot-2", failpoints=("vm.start.interface.after=delay:30",))
    await second.start()
    await second.operations.idle()
    end = second.vms.get("web").last_exit
    begun = await second.power.start("web", wait=True, timeout=5, follows=end)
    await until(lambda: len(second.operations.steps(begun.id)) > 2)
    await second.operations.abandon()
    async with living(await House(tmp_path, boot_id="boot-2").start()) as third:
        await until(lambda: runs(third))
    check_invariants(third)


async def test_one_that_ends_while_it_boots_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(await with_vm(tmp_path)) as house:
        guest, before = house.context.drivers.guest, house.vms.get("web").started_at
        deaths = 0

        async def dies_twice(host: str, port: int, *, timeout: float) -> bool:
            nonlocal deaths
            if deaths == 2:
                return True
            deaths += 1
            crash(house)
            await asyncio.sleep(5)
            return False

        monkeypatch.setattr(guest, "ssh_banner", dies_twice)
        crash(house)
        await until(
            lambda: deaths == 2 and runs(house, before) and house.vms.get("web").problem == {}
        )
        await house.operations.idle()
        assert runs(house)
    check_invariants(house)


async def test_one_that_cannot_start_is_given_up_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(await with_vm(tmp_path)) as house:
        vmm = house.context.drivers.vmms["fake"]
        tries = 0

        async def refuse(_spec: object) -> None:
            nonlocal tries
            tries += 1
            raise VMMFailed("no")

        monkeypatch.setattr(vmm, "launch", refuse)
        crash(house)
        await until(lambda: tries == restart_policy.MOST_FAILURES)
        await house.operations.idle()
        await asyncio.sleep(0.02)
        assert tries == restart_policy.MOST_FAILURES
        vm = house.vms.get("web")
        assert (vm.state, vm.problem["brief"]) == (VMState.FAILED, "no")
    check_invariants(house)


def test_pauses_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_policy, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(restart_policy, "LAST_PAUSE", 60.0)
    assert [pause_before(n) for n in (0, 1, 2, 3, 7, 8, 10_000)] == [0, 1, 2, 4, 60, 60, 60]
