"""What users may ask of a VM's connectivity, and what becomes of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from banger.errors import AlreadyExists, Conflict, InvalidInput, NotFound, PermissionRefused
from banger.model.network import Forward
from banger.model.operation import Operation, OperationStatus
from banger.service import reach, supervision
from banger.service.requests import BuildRequest, CreateRequest
from banger.service.supervision import Supervisor
from tests.fakes.house import House

WEB = Forward("tcp", 8080, 80)


async def ok(house: House, operation: Operation) -> dict[str, Any]:
    ended = await house.operations.wait(operation.id)
    assert ended.status is OperationStatus.SUCCEEDED, ended.error
    return ended.result


async def with_vms(root: Path, *names: str, nat: bool = False) -> House:
    house = await House(root).start()
    await ok(house, await house.images.build(BuildRequest()))
    for name in names:
        await ok(house, await house.vms.create(CreateRequest(name=name, memory_mib=64, nat=nat)))
    return house


def rules(house: House, name: str) -> Any:
    return json.loads((house.world.root / "rules" / house.vms.get(name).lease.tap).read_text())


async def start(house: House, name: str) -> None:
    await ok(house, await house.power.start(name, wait=True, timeout=5))


async def test_nat_is_kept_across_stop_and_start(tmp_path: Path) -> None:
    house = await with_vms(tmp_path, "web")
    assert await ok(house, await house.connectivity.nat("web", up=True)) == {
        "nat": True,
        "forwards": [],
    }
    await start(house, "web")
    assert rules(house, "web")["internet"] is True
    await ok(house, await house.power.stop("web", timeout=5))
    assert not list((house.world.root / "rules").iterdir())
    await start(house, "web")
    assert rules(house, "web")["internet"] is True
    await ok(house, await house.connectivity.nat("web", up=False))
    assert rules(house, "web")["internet"] is False


async def test_nat_at_creation(tmp_path: Path) -> None:
    house = await with_vms(tmp_path, "web", nat=True)
    await start(house, "web")
    assert rules(house, "web")["internet"] is True


async def test_ports_are_kept_unique_and_given_back(tmp_path: Path) -> None:
    house = await with_vms(tmp_path, "web", "db")
    await ok(house, await house.connectivity.publish("web", WEB))
    await ok(house, await house.connectivity.publish("web", WEB))
    with pytest.raises(AlreadyExists, match="8080") as caught:
        await house.connectivity.publish("db", WEB)
    assert "web" in caught.value.cause
    with pytest.raises(AlreadyExists, match="already leads to web"):
        await house.connectivity.publish("web", dataclasses.replace(WEB, guest_port=81))
    await ok(house, await house.connectivity.publish("db", Forward("udp", 8080, 80)))
    await ok(house, await house.connectivity.withdraw("web", WEB))
    await ok(house, await house.connectivity.publish("db", WEB))
    await ok(house, await house.vms.delete("db", force=False))
    assert house.context.resources.held("port") == set()
    with pytest.raises(NotFound):
        await house.connectivity.withdraw("web", WEB)


@pytest.mark.parametrize("forward", [Forward("tcp", 0, 80), Forward("sctp", 80, 80)])
async def test_odd_ports_are_refused(tmp_path: Path, forward: Forward) -> None:
    house = await with_vms(tmp_path, "web")
    with pytest.raises(InvalidInput):
        await house.connectivity.publish("web", forward)


async def test_ports_of_root_are_refused_to_others(tmp_path: Path) -> None:
    house = await with_vms(tmp_path, "web")
    with pytest.raises(PermissionRefused) as caught:
        await house.connectivity.publish("web", Forward("tcp", 80, 80))
    assert caught.value.resolution == "banger vm forward web 8080:80"


async def test_a_refused_rule_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await with_vms(tmp_path, "web")
    await start(house, "web")
    network = house.context.drivers.networks["tap"]
    admit = network.admit

    async def refuse(*arguments: Any) -> None:
        monkeypatch.setattr(network, "admit", admit)
        raise Conflict("a port is taken")

    monkeypatch.setattr(network, "admit", refuse)
    operation = await house.connectivity.publish("web", WEB)
    ended = await house.operations.wait(operation.id)
    assert ended.status is OperationStatus.FAILED
    assert house.vms.get("web").spec.reach.forwards == ()
    assert rules(house, "web")["forwards"] == []
    assert house.context.resources.held("port") == set()


async def test_rules_that_were_lost_are_put_in_place_again(tmp_path: Path) -> None:
    house = await with_vms(tmp_path, "web", "db", nat=True)
    await start(house, "web")
    path = house.world.root / "rules" / house.vms.get("web").lease.tap
    path.unlink()
    await reach.restore(house.context, house.operations.busy_with)
    assert rules(house, "web")["internet"] is True
    assert len(list(path.parent.iterdir())) == 1, "the other one does not run"


async def test_the_patrol_sees_lost_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = await with_vms(tmp_path, "web", nat=True)
    await start(house, "web")
    monkeypatch.setattr(supervision, "PATROL_SECONDS", 0.01)
    path = house.world.root / "rules" / house.vms.get("web").lease.tap
    patrol = asyncio.create_task(Supervisor(house.context, house.operations).patrol())
    try:
        for _ in range(2):
            path.unlink()
            async with asyncio.timeout(5):
                while not path.exists():  # noqa: ASYNC110 - as a user
                    await asyncio.sleep(0.01)
            assert rules(house, "web")["internet"] is True
    finally:
        patrol.cancel()
        await asyncio.gather(patrol, return_exceptions=True)
    assert "the network of web was not as it should be" in caplog.text


async def test_lost_rules_are_seen_by_the_guard_and_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await with_vms(tmp_path, "web", nat=True)
    monkeypatch.setattr(supervision, "GUARD_SECONDS", 0.01)
    tries = []

    async def astray(attachments: Any) -> list[str]:
        tries.append(len(attachments))
        return await astray_in_truth(attachments) if len(tries) != 2 else []

    network = house.context.drivers.networks["tap"]
    astray_in_truth = network.astray
    monkeypatch.setattr(network, "astray", astray)
    looks = 0

    def unruled() -> bool:
        nonlocal looks
        looks += 1
        return unruled_in_truth()

    unruled_in_truth = network.unruled
    monkeypatch.setattr(network, "unruled", unruled)

    async def some_looks() -> None:
        enough = looks + 6
        async with asyncio.timeout(5):
            while looks < enough:  # noqa: ASYNC110 - as a user
                await asyncio.sleep(0.005)

    guard = asyncio.create_task(Supervisor(house.context, house.operations).guard())
    try:
        await some_looks()
        await start(house, "web")
        await some_looks()
        assert tries == [], "nothing was lost"
        path = house.world.root / "rules" / house.vms.get("web").lease.tap
        path.unlink()
        await some_looks()
        assert rules(house, "web")["internet"] is True
        assert tries == [1]
        path.unlink()
        await some_looks()
        assert tries == [1, 1], "what cannot be mended is left to the patrol"
        path.touch()
        await some_looks()
        path.unlink()
        await some_looks()
        assert rules(house, "web")["internet"] is True
    finally:
        guard.cancel()
        await asyncio.gather(guard, return_exceptions=True)


async def test_a_network_of_the_vmm_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await with_vms(tmp_path, "web")
    network = house.context.drivers.networks["tap"]
    monkeypatch.setattr(network, "closed", False)
    monkeypatch.setattr(network, "live", False)
    with pytest.raises(Conflict, match="cannot be kept from the internet"):
        await house.connectivity.nat("web", up=False)
    await ok(house, await house.connectivity.nat("web", up=True))
    await ok(house, await house.connectivity.publish("web", WEB))
    await start(house, "web")
    asked = []

    async def forward(monitor_socket: Path, before: Any, after: Any) -> None:
        asked.append((before, after))

    monkeypatch.setattr(house.context.drivers.vmms["fake"], "forward", forward)
    await ok(house, await house.connectivity.withdraw("web", WEB))
    assert asked == [((WEB,), ())]


async def test_a_row_of_an_older_banger_is_read(tmp_path: Path) -> None:
    house = await with_vms(tmp_path, "web")
    with house.context.database.transaction() as connection:
        connection.execute("UPDATE vm SET spec = json_remove(spec, '$.reach')")
    assert house.vms.get("web").spec.reach.internet is False


async def test_ports_published_at_creation(tmp_path: Path) -> None:
    house = await with_vms(tmp_path, "old")
    await ok(house, await house.connectivity.publish("old", Forward("tcp", 9000, 80)))
    wanted = (WEB, Forward("udp", 5353, 53))
    await ok(house, await house.vms.create(CreateRequest("web", memory_mib=64, forwards=wanted)))
    assert house.vms.get("web").spec.reach.forwards == (WEB, Forward("udp", 5353, 53))
    await start(house, "web")
    assert [forward["host_port"] for forward in rules(house, "web")["forwards"]] == [8080, 5353]
    before = [vm.name for vm in house.vms.list()]
    for forwards, error in (
        ((WEB,), AlreadyExists),
        ((Forward("tcp", 9000, 22),), AlreadyExists),
        ((Forward("tcp", 80, 80),), PermissionRefused),
        ((Forward("tcp", 8081, 80), Forward("tcp", 8081, 81)), InvalidInput),
        ((Forward("sctp", 8082, 80),), InvalidInput),
    ):
        for name in ("other", ""):
            with pytest.raises(error):
                await house.vms.create(CreateRequest(name, memory_mib=64, forwards=forwards))
    assert [vm.name for vm in house.vms.list()] == before
    await ok(house, await house.vms.delete("web", force=True))
    await ok(house, await house.vms.create(CreateRequest("other", memory_mib=64, forwards=(WEB,))))
