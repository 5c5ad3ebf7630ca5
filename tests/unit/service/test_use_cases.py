"""Creating, naming, refusing, cancelling and preempting, over the fake host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.guest.base import GuestCommand
from banger.drivers.storage.base import RootfsSpec
from banger.errors import AlreadyExists, Conflict, HostNotReady, InvalidInput, NotFound
from banger.model.lifecycle import VMState
from banger.model.operation import OperationStatus
from banger.model.storage import Drive
from banger.service.boot import BOOT_STEPS
from banger.service.create import CreatePlan
from banger.service.requests import BuildRequest, CreateRequest
from banger.service.steps import Report, Step
from tests.fakes.house import House
from tests.fakes.world import FakeStore
from tests.unit.service.test_crash import check_invariants


@pytest.fixture
async def house(tmp_path: Path) -> House:
    house = await House(tmp_path).start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    return house


async def create(house: House, **fields: object) -> str:
    request = CreateRequest(memory_mib=64, **fields)  # type: ignore[arg-type]
    operation = await house.operations.wait((await house.vms.create(request)).id)
    assert operation.status is OperationStatus.SUCCEEDED, operation.error
    return operation.target_id


async def test_ten_at_once_get_ten_names_and_addresses(house: House) -> None:
    ids = await asyncio.gather(*(create(house) for _ in range(10)))
    vms = [house.vms.get(vm_id) for vm_id in ids]
    assert len({vm.name for vm in vms}) == 10
    assert len({vm.lease.address for vm in vms}) == 10
    assert len({vm.lease.mac for vm in vms}) == 10
    check_invariants(house)


async def test_a_start_asks_for_its_root_drive_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where root makes it, each request starts a program there."""
    asked: list[str] = []
    activate = FakeStore.activate

    async def counted(store: FakeStore, spec: RootfsSpec) -> Drive:
        asked.append(spec.vm_id)
        return await activate(store, spec)

    monkeypatch.setattr(FakeStore, "activate", counted)
    vm_id = await create(house, name="web")
    started = await house.power.start("web", wait=True, timeout=5)
    assert (await house.operations.wait(started.id)).status is OperationStatus.SUCCEEDED
    assert asked == [vm_id]


async def test_addresses_run_out_with_a_clear_error(house: House) -> None:
    for _ in range(64):
        await create(house)
    with pytest.raises(HostNotReady, match="no free address"):
        await create(house)
    check_invariants(house)


async def test_one_name_has_one_winner(house: House) -> None:
    requests = [house.vms.create(CreateRequest(name="web", memory_mib=64)) for _ in range(5)]
    results = await asyncio.gather(*requests, return_exceptions=True)
    await house.operations.idle()
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert all(isinstance(r, AlreadyExists) for r in results if isinstance(r, BaseException))
    check_invariants(house)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "Web"}, "not allowed"),
        ({"name": "-x"}, "not allowed"),
        ({"name": "a" * 65}, "not allowed"),
        ({"name": "../x"}, "not allowed"),
        ({"vcpus": 0}, "vcpus 0"),
        ({"vcpus": 17}, "vcpus 17"),
        ({"memory_mib": 63}, "memory 63"),
        ({"memory_mib": 32769}, "memory 32769"),
        ({"overlay_bytes": 1}, "overlay size"),
        ({"work_disk_bytes": 1}, "disk size"),
        ({"vmm": "nope"}, "vmm 'nope'"),
        ({"network": "nope"}, "network 'nope'"),
        ({"storage": "nope"}, "storage 'nope'"),
        ({"profile": "nope"}, "profile 'nope'"),
        ({"kernel": "/nonexistent"}, "kernel"),
        ({"kernel": "relative"}, "kernel"),
        ({"kernel": "/etc/passwd"}, "kernel"),
        ({"rootfs": "/etc"}, "root file system"),
        ({"initrd": "/etc/passwd"}, "initrd"),
    ],
)
async def test_bad_input_changes_nothing(
    house: House, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        await house.vms.create(CreateRequest(**{"memory_mib": 64, **fields}))  # type: ignore[arg-type]
    assert house.vms.list() == []
    check_invariants(house)


async def test_more_memory_than_the_host_has_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banger.host.memory.available_mib", lambda: 100)
    with pytest.raises(HostNotReady) as caught:
        await house.vms.create(CreateRequest(memory_mib=200))
    assert "100 MiB" in caught.value.cause
    check_invariants(house)


async def test_references(house: House) -> None:
    vm_id = await create(house, name="web")
    assert house.vms.get(vm_id[:4]).name == "web"
    with pytest.raises(NotFound) as caught:
        house.vms.get("wed")
    assert "did you mean web?" in caught.value.cause
    with pytest.raises(NotFound):
        house.vms.get("we")


async def test_an_idempotency_key_makes_one_vm(house: House) -> None:
    request = CreateRequest(name="web", memory_mib=64)
    first = await house.vms.create(request, "key")
    await house.operations.wait(first.id)
    again = await house.vms.create(request, "key")
    assert again.id == first.id
    assert len(house.vms.list()) == 1


async def test_illegal_actions_name_the_state_and_the_command(house: House) -> None:
    await create(house, name="web")
    with pytest.raises(Conflict) as caught:
        await house.power.stop("web", timeout=1)
    assert "stopped" in caught.value.cause
    await house.operations.wait((await house.power.start("web", wait=True, timeout=5)).id)
    with pytest.raises(Conflict) as caught:
        await house.vms.delete("web", force=False)
    assert "banger stop web" in caught.value.resolution
    with pytest.raises(Conflict):
        await house.vms.rename("web", "other")
    await house.operations.wait((await house.vms.delete("web", force=True)).id)
    assert house.vms.list() == []
    check_invariants(house)


async def test_kill_preempts_a_start_that_waits(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(host: str, port: int, *, timeout: float) -> bool:
        await asyncio.sleep(timeout)
        return False

    monkeypatch.setattr(house.context.drivers.guest, "ssh_banner", never)
    await create(house, name="web")
    start = await house.power.start("web", wait=True, timeout=60)
    await asyncio.sleep(0.05)
    assert house.vms.get("web").state is VMState.STARTING
    kill = await house.power.kill("web")
    await house.operations.wait(kill.id)
    assert (await house.operations.wait(start.id)).status is OperationStatus.CANCELLED
    assert house.vms.get("web").state is VMState.STOPPED
    check_invariants(house)


async def test_a_guest_that_answers_too_late_runs_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(host: str, port: int, *, timeout: float) -> bool:
        await asyncio.sleep(timeout)
        return False

    monkeypatch.setattr(house.context.drivers.guest, "ssh_banner", never)
    await create(house, name="web")
    start = await house.power.start("web", wait=True, timeout=0.1)
    ended = await house.operations.wait(start.id)
    assert ended.error["code"] == "deadline_exceeded"
    assert "fake guest up" in ended.error["details"]
    assert house.vms.get("web").state is VMState.RUNNING
    check_invariants(house)


async def test_an_image_in_use_names_its_users(house: House) -> None:
    await create(house, name="web")
    with pytest.raises(Conflict) as caught:
        await house.images.delete("debian")
    assert "web" in caught.value.cause
    await house.operations.wait((await house.vms.delete("web", force=False)).id)
    await house.operations.wait((await house.images.delete("debian")).id)
    assert house.images.list() == []
    check_invariants(house)


async def test_a_rebuild_takes_the_name_and_keeps_the_old_for_its_vms(house: House) -> None:
    vm_id = await create(house, name="web")
    old = house.images.get("debian")
    with pytest.raises(AlreadyExists) as caught:
        await house.images.build(BuildRequest())
    assert "--rebuild" in caught.value.resolution
    await house.operations.wait((await house.images.build(BuildRequest(rebuild=True))).id)
    assert house.images.get("debian").id != old.id
    kept = house.images.get(house.vms.get(vm_id).spec.image_id)
    assert kept.name == f"debian-{old.id[:6]}"
    check_invariants(house)
    await house.operations.wait((await house.images.build(BuildRequest(rebuild=True))).id)
    assert {image.name for image in house.images.list()} == {"debian", kept.name}
    check_invariants(house)


async def test_drift_is_seen(house: House) -> None:
    assert not house.images.describe(house.images.get("debian")).drift
    house.context.paths.packages.parent.mkdir(parents=True)
    house.context.paths.packages.write_text("git\n")
    assert house.images.describe(house.images.get("debian")).drift


async def test_an_image_of_a_list_of_its_own_needs_that_list_again(house: House) -> None:
    own = BuildRequest(name="work", packages="git\n")
    await house.operations.wait((await house.images.build(own)).id)
    assert not house.images.describe(house.images.get("work")).drift
    with pytest.raises(AlreadyExists) as exists:
        await house.images.build(BuildRequest(name="work"))
    with pytest.raises(Conflict) as caught:
        await house.images.build(BuildRequest(name="work", rebuild=True))
    for error in (exists, caught):
        assert error.value.resolution == "banger image build work --rebuild --packages FILE"
    again = structs.replace(own, rebuild=True)
    await house.operations.wait((await house.images.build(again)).id)
    check_invariants(house)


@pytest.mark.parametrize(
    ("name", "asked", "has"),
    [("docker-debian", None, True), ("debian", None, False), ("work", True, True),
     ("docker-debian", False, False)],
)  # fmt: skip
async def test_docker_is_asked_for_or_meant_by_the_name(
    house: House, name: str, asked: bool | None, has: bool
) -> None:
    request = BuildRequest(name=name, docker=asked, rebuild=True)
    await house.operations.wait((await house.images.build(request)).id)
    assert house.images.get(name).docker is has
    # A rebuild keeps it.
    again = BuildRequest(name=name, rebuild=True)
    await house.operations.wait((await house.images.build(again)).id)
    assert house.images.get(name).docker is has


async def test_a_command_waits_for_the_guests_init(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["starting", "starting", "running"]

    async def ping(self: object, *, timeout: float) -> dict[str, object]:
        return {"systemd": answers.pop(0)}

    await create(house, name="web")
    await house.operations.wait((await house.power.start("web", wait=True, timeout=5)).id)
    monkeypatch.setattr("tests.fakes.world.FakeAgent.ping", ping)
    process = await house.access.execute("web", GuestCommand(("reboot",)))
    assert answers == []
    assert await process.status() == 7


async def test_between_two_steps_the_disk_is_waited_for_once(house: House) -> None:
    before = house.context.database.changes
    await create(house)
    # Admitted with the first step begun, each of the four steps done, and ended.
    assert house.context.database.changes - before == 6


async def test_a_step_is_begun_in_the_journal_before_it_works(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[tuple[str, str]]] = {}
    reach = house.context.failpoints.reach

    async def reached(name: str) -> None:
        [operation] = house.operations.list(active_only=True)
        steps = house.operations.steps(operation.id)
        seen[name] = [(step.name, step.phase.value) for step in steps]
        await reach(name)

    monkeypatch.setattr("banger.service.failpoints.Failpoints.reach", lambda _, name: reached(name))
    await create(house)
    assert seen["vm.create.folder.before"] == [("folder", "intent")]
    assert seen["vm.create.host-key.before"] == [("folder", "done"), ("host-key", "intent")]
    assert [phase for _, phase in seen["vm.create.end.before"]] == ["done"] * 4


async def test_no_step_works_before_its_intent_outlives_a_power_cut(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, worked = house.context.database, []

    def watched(kind: type[Step]) -> None:
        apply = kind.apply

        async def checked(step: Step, report: Report) -> dict[str, object]:
            assert database.unsynced == 0
            worked.append(step.name)
            return await apply(step, report)

        monkeypatch.setattr(kind, "apply", checked)

    for kind in CreatePlan.step_types:
        watched(kind)
    await create(house)
    assert worked == [step.name for step in CreatePlan.step_types]
    assert database.unsynced == 0


async def test_a_start_waits_for_the_disk_where_its_effects_outlive_a_power_cut(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(house, name="web")
    database, waited = house.context.database, []

    def watched(kind: type[Step]) -> None:
        apply = kind.apply

        async def checked(step: Step, report: Report) -> dict[str, object]:
            if database.unsynced == 0:
                waited.append(step.name)
            return await apply(step, report)

        monkeypatch.setattr(kind, "apply", checked)

    for kind in BOOT_STEPS:
        watched(kind)
    operation = await house.power.start("web", wait=True, timeout=5)
    await house.operations.wait(operation.id)
    # The first one finds the admission on the disk.
    assert waited == ["room", "launch", "name"]
    assert database.unsynced == 0
    phases = {step.name: step.phase.value for step in house.operations.steps(operation.id)}
    assert phases == dict.fromkeys((step.name for step in BOOT_STEPS), "done")


async def test_the_configuration_for_ssh_follows_every_change(house: House) -> None:
    config = house.context.paths.ssh_config

    def names() -> list[str]:
        return sorted(line.split()[0] for line in config.read_text().splitlines())

    await create(house, name="web")
    await create(house, name="db")
    assert names() == ["db.vm", "web.vm"]
    await house.operations.wait((await house.vms.rename("web", "shop")).id)
    assert names() == ["db.vm", "shop.vm"]
    await house.operations.wait((await house.vms.delete("db", force=False)).id)
    assert names() == ["shop.vm"]
    config.unlink()
    await house.start()
    assert names() == ["shop.vm"]
