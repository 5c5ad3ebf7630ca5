"""What a VMM cannot do is known before it is tried, and made up for where it can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.guest.base import GuestCommand
from banger.drivers.vmm.base import Capabilities
from banger.errors import InvalidInput, NoAgent
from banger.model.lifecycle import ExitReason, VMState
from banger.model.operation import OperationStatus
from banger.model.vm import VM
from banger.service import resolution
from banger.service.context import Choice
from banger.service.requests import BuildRequest, CreateRequest
from tests.fakes.house import House
from tests.fakes.world import FakeGuest, FakeVMM

BARE = Capabilities(
    pause=True, user_network=False, qcow2=False, agent=False, accelerator="kvm", version="1"
)


@pytest.fixture
async def house(tmp_path: Path) -> House:
    house = await House(tmp_path).start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    return house


def vmm_of(house: House) -> FakeVMM:
    vmm = house.context.drivers.vmms["fake"]
    assert isinstance(vmm, FakeVMM)
    return vmm


def guest_of(house: House) -> FakeGuest:
    guest = house.context.drivers.guest
    assert isinstance(guest, FakeGuest)
    return guest


def storage_of(house: House, request: CreateRequest, choice: Choice) -> str:
    stores = {**house.context.drivers.stores}
    stores |= dict.fromkeys(("qcow2", "reflink", "copy"), stores["fake"])
    networks = {**house.context.drivers.networks}
    networks["user"] = networks["tap"]
    drivers = structs.replace(house.context.drivers, stores=stores, networks=networks)
    return resolution.resolve(request, None, choice, drivers).storage


async def test_auto_takes_storage_that_the_vmm_knows(house: House) -> None:
    choice = Choice("fake", "qcow2", "tap", raw_storage="reflink")
    request = CreateRequest(memory_mib=64)
    assert storage_of(house, request, choice) == "qcow2"
    vmm_of(house).abilities = BARE
    assert storage_of(house, request, choice) == "reflink"
    assert storage_of(house, request, structs.replace(choice, storage="copy")) == "copy"


async def test_a_kernel_of_ones_own_takes_a_raw_drive(house: House, tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(b"\x7fELF")
    choice = Choice("fake", "qcow2", "tap", raw_storage="copy")
    own = CreateRequest(memory_mib=64, kernel=str(kernel))
    assert storage_of(house, own, choice) == "copy"
    with pytest.raises(InvalidInput, match="qcow2 drive") as caught:
        storage_of(house, structs.replace(own, storage="qcow2"), choice)
    assert "--storage copy" in caught.value.resolution


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"storage": "qcow2"}, "use qcow2 files"), ({"network": "user"}, "without root")],
)
async def test_what_was_asked_for_by_name_is_refused(
    house: House, fields: dict[str, str], words: str
) -> None:
    vmm_of(house).abilities = BARE
    request = CreateRequest(memory_mib=64, **fields)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=words):
        storage_of(house, request, Choice("fake", "copy", "tap"))


@pytest.mark.parametrize("fields", [{"storage": "qcow2"}, {"network": "user"}])
async def test_auto_takes_the_vmm_that_can_do_what_was_asked_for(
    house: House, fields: dict[str, str]
) -> None:
    able, bare = vmm_of(house), FakeVMM(house.world)
    bare.abilities = BARE
    drivers = house.context.drivers
    stores = {**drivers.stores, "qcow2": drivers.stores["fake"]}
    networks = {**drivers.networks, "user": drivers.networks["tap"]}
    drivers = structs.replace(
        drivers, vmms={"fake": able, "bare": bare}, stores=stores, networks=networks
    )
    choice = Choice("bare", "fake", "tap")

    def vmm(**asked: str) -> str:
        request = CreateRequest(memory_mib=64, **asked)  # type: ignore[arg-type]
        return resolution.resolve(request, None, choice, drivers).vmm

    assert vmm() == "bare"
    assert vmm(**fields) == "fake"


async def test_a_guest_without_an_agent_is_stopped_by_its_power_key(house: House) -> None:
    vmm_of(house).abilities, vmm_of(house).has_key = BARE, True
    made = await house.operations.wait(
        (await house.vms.create(CreateRequest(memory_mib=64, name="web"))).id
    )
    await house.operations.wait((await house.power.start("web", wait=False, timeout=5)).id)
    with pytest.raises(NoAgent, match="no agent"):
        await house.access.execute("web", GuestCommand(("true",)))
    stopped = await house.operations.wait((await house.power.stop("web", timeout=5)).id)
    assert stopped.status is OperationStatus.SUCCEEDED
    assert vmm_of(house).pressed == [house.context.paths.monitor_socket(made.target_id)]
    assert house.vms.get("web").state is VMState.STOPPED


async def started(house: House) -> VM:
    made = await house.operations.wait(
        (await house.vms.create(CreateRequest(memory_mib=64, name="web"))).id
    )
    await house.operations.wait((await house.power.start("web", wait=False, timeout=5)).id)
    return house.vms.get(made.target_id)


@pytest.mark.parametrize("vsock", [True, False])
async def test_the_way_to_the_agent_is_the_one_that_the_vmm_has(house: House, vsock: bool) -> None:
    vmm_of(house).abilities = structs.replace(vmm_of(house).abilities, vsock=vsock)
    await started(house)
    assert (await house.access.endpoint("web")).agent
    process = await house.access.execute("web", GuestCommand(("true",)))
    assert await process.status() == 7
    assert guest_of(house).connected == [vsock]


async def test_a_guest_whose_agent_is_silent_is_stopped_by_its_power_key(house: House) -> None:
    guest_of(house).agents_hang = vmm_of(house).has_key = True
    vm = await started(house)
    stopped = await house.operations.wait((await house.power.stop("web", timeout=2)).id)
    assert stopped.status is OperationStatus.SUCCEEDED
    assert vmm_of(house).pressed == [house.context.paths.monitor_socket(vm.id)]
    ended = house.vms.get("web").last_exit
    assert ended is not None
    assert ended.reason is ExitReason.STOPPED


async def test_one_with_neither_agent_nor_key_is_ended(house: House) -> None:
    guest_of(house).agents_hang = True
    await started(house)
    await house.operations.wait((await house.power.stop("web", timeout=0.2)).id)
    ended = house.vms.get("web").last_exit
    assert ended is not None
    assert ended.reason is ExitReason.KILLED
    assert "could not be asked" in ended.detail
