"""What every network driver promises, tried on each real one."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator

import pytest

from banger import naming
from banger.drivers.network.base import Network
from banger.drivers.network.tap import Tap
from banger.drivers.network.user import User
from banger.host.privilege import Privilege
from banger.model.network import Lease
from banger.model.operation import Presence
from tests.requirements import needs


@pytest.fixture(params=[pytest.param("tap", marks=needs("root", "tap")), "user"])
def network(request: pytest.FixtureRequest) -> Network:
    if request.param == "user":
        return User(os.getuid())
    return Tap(Privilege(), "10.208.0.0/12", os.getuid(), ("192.0.2.53",))


@pytest.fixture
def vm_id() -> str:
    return naming.new_id()


@pytest.fixture
async def lease(network: Network, vm_id: str) -> AsyncIterator[Lease]:
    lease = next(network.candidates(vm_id))
    yield lease
    await network.detach(lease, vm_id)


def test_candidates_differ_in_what_is_reserved(network: Network, vm_id: str) -> None:
    offers = list(itertools.islice(network.candidates(vm_id), 20))
    assert len(offers) == 20
    assert len({offer.ssh_host + str(offer.ssh_port) for offer in offers}) == 20
    assert {offer.mac for offer in offers} == {naming.mac_address(vm_id)}
    assert {offer.kind for offer in offers} == {network.name}


async def test_attach_and_detach_accept_already_so(
    network: Network, lease: Lease, vm_id: str
) -> None:
    assert network.probe(lease, vm_id) is Presence.ABSENT
    await network.detach(lease, vm_id)
    await network.attach(lease, vm_id)
    before = network.probe(lease, vm_id)
    await network.attach(lease, vm_id)
    assert network.probe(lease, vm_id) is before
    await network.detach(lease, vm_id)
    await network.detach(lease, vm_id)
    assert network.probe(lease, vm_id) is Presence.ABSENT


async def test_what_is_attached_is_not_offered_to_others(
    network: Network, lease: Lease, vm_id: str
) -> None:
    await network.attach(lease, vm_id)
    if network.probe(lease, vm_id) is Presence.ABSENT:
        return  # a host side that exists only while the VMM runs
    offers = itertools.islice(network.candidates(vm_id), 50)
    assert lease.address not in {offer.address for offer in offers}
