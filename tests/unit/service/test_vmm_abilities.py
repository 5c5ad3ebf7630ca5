"""What a VMM cannot do is known before it is tried, and made up for where it can be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from banger.drivers.guest.base import GuestCommand
from banger.drivers.vmm.base import Capabilities
from banger.errors import InvalidInput, NoAgent
from banger.model.lifecycle import VMState
from banger.model.operation import OperationStatus
from banger.service import resolution
from banger.service.context import Choice
from banger.service.requests import BuildRequest, CreateRequest
from tests.fakes.house import House
from tests.fakes.world import FakeVMM

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


def storage_of(house: House, request: CreateRequest, choice: Choice) -> str:
    stores = {**house.context.drivers.stores}
    stores |= dict.fromkeys(("qcow2", "reflink", "copy"), stores["fake"])
    networks = {**house.context.drivers.networks}
    networks["user"] = networks["tap"]
    drivers = dataclasses.replace(house.context.drivers, stores=stores, networks=networks)
    return resolution.resolve(request, None, choice, drivers).storage


async def test_auto_takes_storage_that_the_vmm_knows(house: House) -> None:
    choice = Choice("fake", "qcow2", "tap", raw_storage="reflink")
    request = CreateRequest(memory_mib=64)
    assert storage_of(house, request, choice) == "qcow2"
    vmm_of(house).abilities = BARE
    assert storage_of(house, request, choice) == "reflink"
    assert storage_of(house, request, dataclasses.replace(choice, storage="copy")) == "copy"


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


async def test_a_guest_without_an_agent_is_stopped_by_its_power_key(house: House) -> None:
    vmm_of(house).abilities = BARE
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
