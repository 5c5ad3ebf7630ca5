"""A VM has its name from launch to release, and a name never keeps a VM from starting."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from banger.drivers.dns.base import Publication
from banger.errors import Conflict
from banger.model.lifecycle import VMState
from banger.model.operation import Operation, OperationStatus
from banger.service import recovery
from banger.service.boot import StartPlan
from banger.service.names import PublishName
from banger.service.requests import BuildRequest, CreateRequest
from tests.fakes.house import House
from tests.fakes.world import FakeNames


async def with_vm(root: Path) -> House:
    house = await House(root).start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    await house.operations.wait(
        (await house.vms.create(CreateRequest(name="web", memory_mib=64))).id
    )
    return house


def operation_on(house: House) -> Operation:
    return next(op for op in house.context.operations.all() if op.kind == "vm.start")


async def start(house: House) -> Operation:
    operation = await house.power.start("web", wait=True, timeout=5)
    return await house.operations.wait(operation.id)


async def test_the_name_lives_while_the_vm_runs(tmp_path: Path) -> None:
    house = await with_vm(tmp_path)
    assert house.vms.describe(house.vms.get("web")).dns_name == ""
    assert (await start(house)).status is OperationStatus.SUCCEEDED
    assert house.vms.describe(house.vms.get("web")).dns_name == "web.vm"
    await house.operations.wait((await house.power.restart("web", wait=True, timeout=5)).id)
    assert house.vms.describe(house.vms.get("web")).dns_name == "web.vm"
    await house.operations.wait((await house.power.stop("web", timeout=5)).id)
    assert house.vms.describe(house.vms.get("web")).dns_name == ""


async def test_a_renamed_vm_gets_its_new_name(tmp_path: Path) -> None:
    house = await with_vm(tmp_path)
    await start(house)
    await house.operations.wait((await house.power.stop("web", timeout=5)).id)
    await house.operations.wait((await house.vms.rename("web", "shop")).id)
    operation = await house.power.start("shop", wait=True, timeout=5)
    await house.operations.wait(operation.id)
    assert house.vms.describe(house.vms.get("shop")).dns_name == "shop.vm"


async def test_a_name_that_cannot_be_had_fails_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: FakeNames, publication: Publication) -> None:
        raise Conflict("the name web.vm is taken", cause="it was set by hand")

    monkeypatch.setattr(FakeNames, "publish", refuse)
    monkeypatch.setattr(FakeNames, "obstacle", lambda self, vm_id: "taken by hand")
    house = await with_vm(tmp_path)
    assert (await start(house)).status is OperationStatus.SUCCEEDED
    vm = house.vms.get("web")
    assert vm.state is VMState.RUNNING
    facts = house.vms.describe(vm)
    assert (facts.dns_name, facts.warnings) == ("", ("its name does not resolve: taken by hand",))


async def test_a_name_that_stays_keeps_no_vm_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: FakeNames, vm_id: str) -> None:
        raise Conflict("the records are spoilt")

    house = await with_vm(tmp_path)
    await start(house)
    monkeypatch.setattr(FakeNames, "withdraw", refuse)
    stopped = await house.operations.wait((await house.power.stop("web", timeout=5)).id)
    assert stopped.status is OperationStatus.SUCCEEDED


async def test_a_vm_without_an_address_of_its_own_is_not_published(tmp_path: Path) -> None:
    house = await with_vm(tmp_path)
    await start(house)
    vm = house.vms.get("web")
    with house.context.database.transaction():
        lease = dataclasses.replace(vm.lease, tap="")
        house.context.vms.update(dataclasses.replace(vm, lease=lease))
    (house.world.root / "names" / vm.id).unlink()
    await recovery.settle_names(house.context, house.operations)
    step = PublishName(StartPlan(house.context, operation_on(house)))
    assert await step.apply(lambda *_: None) == {}
    assert list((house.world.root / "names").iterdir()) == []


async def test_the_next_daemon_publishes_what_runs(tmp_path: Path) -> None:
    first = await with_vm(tmp_path)
    await start(first)
    for path in (first.world.root / "names").iterdir():
        path.unlink()
    second = await House(tmp_path).start()
    await asyncio.wait_for(recovery.settle_names(second.context, second.operations), 5)
    assert second.vms.describe(second.vms.get("web")).dns_name == "web.vm"
