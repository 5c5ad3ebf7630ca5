"""Rows come back as the objects that went in; the allocator has one winner per key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.errors import AlreadyExists, NotFound
from banger.model.lifecycle import ExitReason, VMState
from banger.model.network import Lease
from banger.model.operation import Operation, OperationStatus, StepPhase, StepRecord
from banger.model.vm import VM, Exit, Machine, VMSpec
from banger.store.database import Database
from banger.store.operations import HISTORY_KEPT, Operations
from banger.store.resources import Resources, Taken
from banger.store.vms import VMs

LEASE = Lease("tap", "02:00:00:00:00:01", "10.208.0.2", 30, "10.208.0.1", "bgr", "10.208.0.2", 22)
SPEC = VMSpec(2, 1024, 2**33, 0, "i1", "debian", "", "", "", "qemu", "qcow2", "tap", "fast")
MACHINE = Machine(1, 2, "/usr/bin/q", "boot", "tcg", "7.2")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "banger.db")


def _vm(vm_id: str = "0123456789ab", name: str = "web") -> VM:
    return VM(vm_id, name, SPEC, VMState.STOPPED, LEASE, 1.5)


def test_a_vm_comes_back_whole(database: Database) -> None:
    vms = VMs(database)
    vm = VM(
        "0123456789ab",
        "web",
        SPEC,
        VMState.RUNNING,
        LEASE,
        1.5,
        2.5,
        MACHINE,
        Exit(ExitReason.GUEST_PANIC, 3.5, "détail\n"),
        {"code": "x"},
        7,
    )
    vms.insert(vm)
    assert vms.get(vm.id) == vms.by_name("web") == vm
    assert vms.all() == vms.by_image("i1") == vms.by_id_prefix("0123") == [vm]
    assert vms.by_id_prefix("0124") == []
    vms.delete(vm.id)
    vms.delete(vm.id)
    assert vms.get(vm.id) is None
    with pytest.raises(NotFound):
        vms.update(vm)


def test_names_are_unique(database: Database) -> None:
    vms = VMs(database)
    vms.insert(_vm())
    with pytest.raises(AlreadyExists, match="web"):
        vms.insert(_vm("ffffffffffff"))
    vms.insert(_vm("ffffffffffff", "other"))
    with pytest.raises(AlreadyExists):
        vms.update(_vm("ffffffffffff", "web"))


def test_all_keys_are_taken_or_none(database: Database) -> None:
    resources = Resources(database)
    resources.reserve([("ip", "1")], owner_id="a", operation_id="o", boot_id="b")
    with pytest.raises(Taken) as taken:
        resources.reserve([("ip", "2"), ("ip", "1")], owner_id="z", operation_id="o", boot_id="b")
    assert taken.value.owner_id == "a"
    assert resources.held("ip") == {"1"}
    resources.reserve([("ip", "1"), ("ip", "2")], owner_id="a", operation_id="o", boot_id="b")
    resources.release("a", [("ip", "1")])
    assert resources.held("ip") == {"2"}
    resources.release("a")
    assert resources.held("ip") == set()


@given(
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(-(2**53), 2**53), st.booleans()))
)
def test_any_observation_survives_the_journal(observed: dict[str, object]) -> None:
    from banger.store.documents import dump, load

    assert load(dump(observed), dict[str, object]) == observed


def test_the_history_is_bounded_and_keeps_what_runs(database: Database) -> None:
    operations = Operations(database)
    with database.transaction():
        for number in range(HISTORY_KEPT + 5):
            status = OperationStatus.RUNNING if number == 0 else OperationStatus.SUCCEEDED
            operations.insert(
                Operation(f"{number:012x}", "vm.start", "vm", "v", "web", {}, status, "b", number)
            )
    operations.put_step(StepRecord(f"{1:012x}", 0, "room", StepPhase.DONE, {"a": 1}))
    forgotten = operations.forget_old()
    assert forgotten == [f"{number:012x}" for number in (4, 3, 2, 1)]
    assert operations.steps(f"{1:012x}") == []
    assert [operation.id for operation in operations.all(active_only=True)] == [f"{0:012x}"]


def test_an_idempotency_key_finds_its_operation(database: Database) -> None:
    operations = Operations(database)
    plain = Operation("0" * 12, "k", "vm", "v", "w", {}, OperationStatus.RUNNING, "b", 1.0)
    keyed = Operation(
        "1" * 12, "k", "vm", "v", "w", {}, OperationStatus.RUNNING, "b", 1.0, idempotency_key="key"
    )
    operations.insert(plain)
    operations.insert(keyed)
    assert operations.by_idempotency_key("key") == keyed
    assert operations.by_idempotency_key("other") is None
