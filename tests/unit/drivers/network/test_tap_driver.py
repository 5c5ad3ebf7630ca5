from __future__ import annotations

import os
from ipaddress import IPv4Network

import pytest

from banger.drivers.network import tap
from banger.drivers.network.tap import Tap
from banger.errors import Conflict, HostNotReady, InternalError, InvalidInput, PermissionRefused
from banger.host import privilege
from banger.host.privilege import Privilege
from banger.model.operation import Presence
from banger.privileged.calls import CallFailed, TapCreate
from banger.privileged.checks import check

ID = "0123456789ab"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Tap:
    monkeypatch.setattr(tap, "networks_in_use", list)
    return Tap(Privilege(), "10.208.0.0/12", 1000, ("192.0.2.53",))


def test_a_lease_holds_all_that_guest_and_host_need(network: Tap) -> None:
    lease = next(network.candidates(ID))
    assert lease.tap == f"bgr{ID}"
    assert (lease.ssh_host, lease.ssh_port) == (lease.address, 22)
    assert lease.address.startswith("10.218.")
    assert lease.nameservers == ("192.0.2.53",)
    assert len(lease.reservations()) == 3


def test_the_root_side_accepts_what_the_driver_asks_for(network: Tap) -> None:
    lease = next(network.candidates(ID))
    call = tap.create_call(lease, ID, 1000)
    check(call, 1000)
    assert isinstance(call, TapCreate)


def test_networks_of_the_host_are_avoided(network: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(network.candidates(ID))
    used = [IPv4Network(f"{first.gateway}/32")]
    monkeypatch.setattr(tap, "networks_in_use", lambda: used)
    assert next(network.candidates(ID)).address != first.address


@pytest.mark.parametrize(
    ("alias", "presence"),
    [
        (None, Presence.ABSENT),
        ("", Presence.FOREIGN),
        (f"banger:1001:{ID}", Presence.FOREIGN),
        (f"banger:1000:{ID}", Presence.OURS),
    ],
)
def test_only_our_mark_is_ours(
    network: Tap, monkeypatch: pytest.MonkeyPatch, alias: str | None, presence: Presence
) -> None:
    monkeypatch.setattr(tap, "alias_of", lambda interface: alias)
    assert network.probe(next(network.candidates(ID)), ID) is presence


async def test_without_root_the_other_network_is_named(
    network: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionRefused) as caught:
        await network.attach(next(network.candidates(ID)), ID)
    assert "--network user" in caught.value.resolution


def test_a_bad_pool_is_told_at_once() -> None:
    with pytest.raises(InvalidInput):
        Tap(Privilege(), "10.208.0.0/31", 0, ())


@pytest.mark.parametrize(
    ("reason", "family"),
    [
        ("foreign", Conflict),
        ("failed", HostNotReady),
        ("refused", InternalError),
        ("malformed", InternalError),
    ],
)
def test_refusals_of_the_root_side_are_explained(reason: str, family: type[Exception]) -> None:
    error = privilege.explain(CallFailed(reason, "why"))
    assert isinstance(error, family)
    assert error.cause == "why"
