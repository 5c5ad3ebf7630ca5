"""``vm set``, ``clone`` and ``rebuild`` over the fake world."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from banger.errors import AlreadyExists, BangerError, Conflict, InvalidInput, NotFound
from banger.model.lifecycle import VMState
from banger.model.network import Forward
from banger.model.operation import Operation, OperationStatus
from banger.model.vm import GIB, VM
from banger.service.requests import BuildRequest, CreateRequest, SetRequest
from banger.service.sizes import OVERLAY_FULL
from tests.fakes.house import House
from tests.fakes.world import FakeStore
from tests.unit.service.test_crash import check_invariants


@pytest.fixture
async def house(tmp_path: Path) -> House:
    house = await House(tmp_path).start()
    await done(house, await house.images.build(BuildRequest()))
    await done(house, await house.vms.create(CreateRequest(name="web", memory_mib=64)))
    return house


async def done(house: House, operation: Operation) -> Operation:
    ended = await house.operations.wait(operation.id)
    assert ended.status is OperationStatus.SUCCEEDED, ended.error
    return ended


def web(house: House) -> VM:
    return house.vms.get("web")


def file_of(house: House, name: str, vm: str = "web") -> Path:
    return house.context.paths.vm(house.vms.get(vm).id) / name


async def start(house: House) -> None:
    await done(house, await house.power.start("web", wait=True, timeout=5))


async def pause_full(house: House) -> None:
    """As supervision leaves a VM whose overlay is about to overflow."""
    await start(house)
    await done(house, await house.power.pause("web"))
    house.context.change_vm(web(house), problem={"code": OVERLAY_FULL})


def grow_live(house: House) -> None:
    store = house.context.drivers.stores["fake"]
    assert isinstance(store, FakeStore)
    store.grows_live = True


async def test_sizes_of_a_stopped_vm(house: House) -> None:
    request = SetRequest(vcpus=4, memory_mib=128, overlay_bytes=16 * GIB, work_disk_bytes=GIB)
    ended = await done(house, await house.change.set("web", request))
    spec = web(house).spec
    assert (spec.vcpus, spec.memory_mib) == (4, 128)
    assert (spec.overlay_bytes, spec.work_disk_bytes) == (16 * GIB, GIB)
    assert ended.result["memory_mib"] == 128
    assert file_of(house, "layer").read_text() == str(16 * GIB)
    assert file_of(house, "work").read_text() == str(GIB)
    record = json.loads(file_of(house, "vm.json").read_text())
    assert record["meta"]["spec"]["vcpus"] == 4
    await done(house, await house.change.set("web", SetRequest(work_disk_bytes=2 * GIB)))
    assert file_of(house, "work").read_text() == str(2 * GIB)
    assert web(house).spec.vcpus == 4
    await done(house, await house.change.set("web", SetRequest(memory_mib=64)))
    assert web(house).spec.memory_mib == 64
    check_invariants(house)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (SetRequest(), "nothing"),
        (SetRequest(overlay_bytes=GIB), "overlay of web cannot become smaller"),
        (SetRequest(overlay_bytes=1), "out of range"),
        (SetRequest(work_disk_bytes=1), "out of range"),
        (SetRequest(vcpus=0), "out of range"),
        (SetRequest(vcpus=4, memory_mib=1), "out of range"),
        (SetRequest(memory_mib=40000), "out of range"),
    ],
)
async def test_bad_sizes_change_nothing(house: House, request_: SetRequest, words: str) -> None:
    before = web(house)
    with pytest.raises(InvalidInput, match=words) as caught:
        await house.change.set("web", request_)
    assert caught.value.cause
    assert caught.value.resolution
    assert web(house) == before


async def test_a_work_disk_does_not_shrink(house: House) -> None:
    await done(house, await house.change.set("web", SetRequest(work_disk_bytes=2 * GIB)))
    with pytest.raises(InvalidInput, match="work disk of web cannot become smaller"):
        await house.change.set("web", SetRequest(work_disk_bytes=GIB))


async def test_memory_that_the_host_lacks(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banger.host.memory.available_mib", lambda: 100)
    with pytest.raises(BangerError, match="200 MiB") as caught:
        await house.change.set("web", SetRequest(memory_mib=200))
    assert caught.value.resolution.startswith("banger vm set web --memory")


async def test_a_running_vm_must_be_stopped_first(house: House) -> None:
    await start(house)
    for change in (
        house.change.set("web", SetRequest(vcpus=3)),
        house.change.set("web", SetRequest(overlay_bytes=16 * GIB)),
        house.change.clone("web", "copy"),
        house.change.rebuild("web"),
    ):
        with pytest.raises(Conflict) as caught:
            await change
        assert (caught.value.cause, caught.value.resolution) == (
            "it is running",
            "banger stop web",
        )
    check_invariants(house)


async def test_an_overlay_that_can_grows_while_the_vm_runs(house: House) -> None:
    grow_live(house)
    await start(house)
    await done(house, await house.change.set("web", SetRequest(overlay_bytes=16 * GIB)))
    assert web(house).state is VMState.RUNNING
    assert web(house).spec.overlay_bytes == 16 * GIB
    assert file_of(house, "layer").read_text() == str(16 * GIB)
    with pytest.raises(Conflict):
        await house.change.set("web", SetRequest(overlay_bytes=32 * GIB, vcpus=3))


async def test_a_vm_whose_overlay_was_full_goes_on(house: House) -> None:
    grow_live(house)
    await pause_full(house)
    await done(house, await house.change.set("web", SetRequest(overlay_bytes=8 * GIB)))
    assert web(house).state is VMState.PAUSED  # nothing was gained
    await done(house, await house.change.set("web", SetRequest(overlay_bytes=9 * GIB)))
    assert (web(house).state, web(house).problem) == (VMState.RUNNING, {})


async def test_a_vm_that_a_user_paused_stays_paused(house: House) -> None:
    grow_live(house)
    await start(house)
    await done(house, await house.power.pause("web"))
    await done(house, await house.change.set("web", SetRequest(overlay_bytes=9 * GIB)))
    assert web(house).state is VMState.PAUSED


async def test_what_fails_half_way_leaves_a_true_row(tmp_path: Path) -> None:
    house = House(tmp_path, failpoints=("vm.set.work-disk.before=error",))
    await house.start()
    await done(house, await house.images.build(BuildRequest()))
    await done(house, await house.vms.create(CreateRequest(name="web", memory_mib=64)))
    request = SetRequest(overlay_bytes=16 * GIB, work_disk_bytes=GIB, vcpus=4)
    ended = await house.operations.wait((await house.change.set("web", request)).id)
    assert ended.status is OperationStatus.FAILED
    spec = web(house).spec
    assert (spec.overlay_bytes, spec.work_disk_bytes, spec.vcpus) == (16 * GIB, 0, 2)
    assert not file_of(house, "work").exists()
    check_invariants(house)


async def test_a_clone_has_everything_of_its_own(house: House) -> None:
    await done(house, await house.change.set("web", SetRequest(9, 64, 9 * GIB, GIB)))
    await done(house, await house.connectivity.publish("web", Forward("tcp", 8080, 80)))
    await done(house, await house.connectivity.nat("web", up=True))
    await done(house, await house.change.clone("web", "copy"))
    source, copy = web(house), house.vms.get("copy")
    assert copy.state is VMState.STOPPED
    assert copy.spec.reach.internet
    assert copy.spec.reach.forwards == ()
    assert (copy.spec.vcpus, copy.spec.overlay_bytes) == (9, 9 * GIB)
    for field in ("address", "mac", "tap"):
        assert getattr(copy.lease, field) != getattr(source.lease, field)
    assert copy.id != source.id
    for name in ("layer", "work"):
        assert file_of(house, name).read_text() == file_of(house, name, "copy").read_text()
    keys = [file_of(house, "ssh_host_ed25519_key.pub", vm).read_text() for vm in ("web", "copy")]
    assert keys[0] != keys[1]
    check_invariants(house)


async def test_refused_clones_change_nothing(house: House) -> None:
    with pytest.raises(AlreadyExists):
        await house.change.clone("web", "web")
    with pytest.raises(InvalidInput):
        await house.change.clone("web", "Not Good")
    with pytest.raises(NotFound):
        await house.change.clone("nope", "copy")
    assert [vm.name for vm in house.vms.list()] == ["web"]
    check_invariants(house)


async def test_the_source_of_a_clone_stays_as_it_is_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = house.context.drivers.stores["fake"]
    go_on = asyncio.Event()
    real = store.copy

    async def slow(*args: object) -> None:
        await go_on.wait()
        await real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "copy", slow)
    cloning = await house.change.clone("web", "copy")
    with pytest.raises(Conflict, match="vm web is busy"):
        await house.power.start("web", wait=True, timeout=5)
    with pytest.raises(Conflict, match="vm web is busy"):
        await house.change.clone("web", "other")
    go_on.set()
    await done(house, cloning)
    await start(house)
    check_invariants(house)


async def test_deleting_the_source_by_force_ends_the_clone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = house.context.drivers.stores["fake"]

    async def endless(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(store, "copy", endless)
    await house.change.clone("web", "copy")
    await asyncio.sleep(0)
    await done(house, await house.vms.delete("web", force=True))
    assert house.vms.list() == []
    check_invariants(house)


async def test_a_rebuild_keeps_all_but_the_layer(house: House) -> None:
    await done(house, await house.images.build(BuildRequest(name="other")))
    await done(house, await house.change.set("web", SetRequest(None, None, 9 * GIB, GIB)))
    before = web(house)
    assert file_of(house, "layer").read_text()
    key = file_of(house, "ssh_host_ed25519_key.pub").read_text()
    ended = await done(house, await house.change.rebuild("web", "other"))
    after = web(house)
    assert (ended.result["image"], after.spec.image_name) == ("other", "other")
    assert after.spec.image_id == house.images.get("other").id
    assert (after.lease, after.id, after.name) == (before.lease, before.id, before.name)
    assert after.spec.overlay_bytes == 9 * GIB
    assert file_of(house, "layer").read_text() == ""  # a new one
    assert file_of(house, "work").read_text() == str(GIB)
    assert file_of(house, "ssh_host_ed25519_key.pub").read_text() == key
    await done(house, await house.images.delete("debian"))
    await start(house)
    check_invariants(house)


async def test_a_rebuild_without_an_image_changes_nothing(house: House) -> None:
    with pytest.raises(NotFound) as caught:
        await house.change.rebuild("web", "nope")
    assert caught.value.resolution == "banger image build nope"
    assert web(house).spec.image_name == "debian"


@pytest.mark.parametrize(
    ("step", "image", "state"),
    [("old-layer", "debian", VMState.STOPPED), ("rootfs", "other", VMState.FAILED)],
)
async def test_a_rebuild_that_fails(tmp_path: Path, step: str, image: str, state: VMState) -> None:
    house = House(tmp_path, failpoints=(f"vm.rebuild.{step}.before=error",))
    await house.start()
    for name in ("debian", "other"):
        await done(house, await house.images.build(BuildRequest(name=name)))
    await done(house, await house.vms.create(CreateRequest(name="web", memory_mib=64)))
    ended = await house.operations.wait((await house.change.rebuild("web", "other")).id)
    assert ended.status is OperationStatus.FAILED
    assert (web(house).state, web(house).spec.image_name) == (state, image)
    assert bool(web(house).problem) == (state is VMState.FAILED)
    house.context.database.close()
    house = await House(tmp_path).start()
    await done(house, await house.change.rebuild("web"))
    assert web(house).state is VMState.STOPPED
    await start(house)
    check_invariants(house)
