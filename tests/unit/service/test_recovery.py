"""Start-up brings rows and host together, whatever the last daemon left."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from banger.model.lifecycle import ExitReason, VMState
from banger.model.operation import OperationStatus
from banger.service.requests import BuildRequest, CreateRequest
from banger.service.supervision import Supervisor
from tests.fakes.house import House
from tests.unit.service.test_crash import check_invariants


async def with_running_vm(root: Path) -> House:
    house = await House(root).start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    await house.operations.wait(
        (await house.vms.create(CreateRequest(name="web", memory_mib=64))).id
    )
    started = await house.power.start("web", wait=True, timeout=5)
    assert (await house.operations.wait(started.id)).status is OperationStatus.SUCCEEDED
    return house


async def test_a_running_vm_is_adopted(tmp_path: Path) -> None:
    first = await with_running_vm(tmp_path)
    machine = first.vms.get("web").machine
    second = await House(tmp_path).start()
    assert second.vms.get("web").state is VMState.RUNNING
    assert second.vms.get("web").machine == machine
    check_invariants(second)


async def test_a_vmm_that_died_meanwhile_is_recorded_and_released(tmp_path: Path) -> None:
    first = await with_running_vm(tmp_path)
    next((first.world.root / "processes").iterdir()).unlink()
    second = await House(tmp_path).start()
    await second.operations.idle()
    vm = second.vms.get("web")
    assert vm.state is VMState.STOPPED
    assert vm.last_exit is not None
    assert vm.last_exit.reason is ExitReason.GUEST_SHUTDOWN
    check_invariants(second)


async def test_a_host_reboot_is_seen_by_its_boot_id(tmp_path: Path) -> None:
    first = await with_running_vm(tmp_path)
    for kind in ("processes", "taps", "rules", "active"):
        for path in (first.world.root / kind).iterdir():
            path.unlink()
    second = await House(tmp_path, boot_id="boot-2").start()
    await second.operations.idle()
    vm = second.vms.get("web")
    assert vm.last_exit is not None
    assert vm.last_exit.reason is ExitReason.HOST_REBOOT
    check_invariants(second)


async def test_a_lost_database_is_rebuilt_from_the_info_files(tmp_path: Path) -> None:
    first = await with_running_vm(tmp_path)
    before = first.vms.get("web")
    first.context.database.close()
    first.context.paths.database.write_bytes(b"rubbish" * 1000)
    for suffix in ("-wal", "-shm"):
        first.context.paths.database.with_name("banger.db" + suffix).unlink(missing_ok=True)
    second = await House(tmp_path).start()
    assert "moved to" in second.warning
    after = second.vms.get("web")
    assert (after.id, after.spec, after.lease, after.machine) == (
        before.id,
        before.spec,
        before.lease,
        before.machine,
    )
    assert after.state is VMState.RUNNING
    assert second.images.get("debian").id == before.spec.image_id
    check_invariants(second)


def _lose_the_rows(house: House) -> None:
    with house.context.database.transaction() as connection:
        for table in ("vm", "image", "resource"):
            connection.execute(f"DELETE FROM {table}")


async def test_a_vm_that_was_half_made_when_the_database_was_lost(tmp_path: Path) -> None:
    first = await with_running_vm(tmp_path)
    made = await first.vms.create(CreateRequest(name="half", memory_mib=64))
    half = (await first.operations.wait(made.id)).target_id
    path = first.context.paths.vm_record(half)
    document = json.loads(path.read_text())
    document["meta"]["state"] = "creating"
    path.write_text(json.dumps(document))
    _lose_the_rows(first)
    second = await House(tmp_path).start()
    assert second.vms.get("web").state is VMState.RUNNING
    assert second.vms.get("half").state is VMState.FAILED
    assert second.vms.get("half").problem["resolution"] == "banger rm half"
    await second.operations.wait((await second.vms.delete("half", force=False)).id)
    check_invariants(second)


async def test_an_older_database_that_came_back_does_not_stop_the_start(tmp_path: Path) -> None:
    first = await with_running_vm(tmp_path)
    made = await first.vms.create(CreateRequest(name="young", memory_mib=64))
    await first.operations.wait(made.id)
    young = first.vms.get("young")
    with first.context.database.transaction() as connection:
        connection.execute("DELETE FROM vm WHERE id = ?", (young.id,))
        # Its address belonged to another VM then.
        older = (first.vms.get("web").id, young.id)
        connection.execute("UPDATE resource SET owner_id = ? WHERE owner_id = ?", older)
    second = await House(tmp_path).start()
    assert [vm.name for vm in second.vms.list()] == ["web"]
    assert second.context.paths.vm_record(young.id).exists(), "nothing is thrown away"


async def test_an_older_row_yields_to_what_runs(tmp_path: Path) -> None:
    first = await with_running_vm(tmp_path)
    with first.context.database.transaction() as connection:
        connection.execute("UPDATE vm SET state = 'stopped', machine = ''")
    second = await House(tmp_path).start()
    assert second.vms.get("web").state is VMState.RUNNING
    check_invariants(second)


async def test_the_info_file_is_true_after_each_change(tmp_path: Path) -> None:
    house = await with_running_vm(tmp_path)
    vm = house.vms.get("web")
    path = house.context.paths.vm_record(vm.id)
    document = json.loads(path.read_text())
    assert document["meta"]["state"] == "running"
    assert vm.machine is not None
    assert document["config"] == {"pid": vm.machine.pid}
    await house.operations.wait((await house.power.stop("web", timeout=5)).id)
    document = json.loads(path.read_text())
    assert document["config"] == {}, "nothing runs"
    assert document["meta"]["state"] == "stopped"
    assert document["meta"]["last_exit"]["reason"] == "stopped"
    await house.operations.wait((await house.vms.rename("web", "other")).id)
    assert json.loads(path.read_text())["meta"]["name"] == "other"


async def test_one_unreadable_info_file_does_not_stop_the_start(tmp_path: Path) -> None:
    house = await with_running_vm(tmp_path)
    broken = house.context.paths.vm("ffffffffffff")
    broken.mkdir()
    (broken / "vm.json").write_text("{")
    second = await House(tmp_path).start()
    assert [vm.name for vm in second.vms.list()] == ["web"]


async def test_the_supervisor_records_an_unexpected_end(tmp_path: Path) -> None:
    house = await with_running_vm(tmp_path)
    supervisor = Supervisor(house.context, house.operations)
    watching = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0.02)
    next((house.world.root / "processes").iterdir()).unlink()
    async with asyncio.timeout(5):
        while house.vms.get("web").state is not VMState.STOPPED:  # noqa: ASYNC110 - as a user
            await asyncio.sleep(0.01)
    await house.operations.idle()
    supervisor.stop()
    watching.cancel()
    check_invariants(house)
