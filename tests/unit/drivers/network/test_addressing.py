from __future__ import annotations

import itertools
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.drivers.network.addressing import candidates, parse_pool, share_of
from banger.errors import InvalidInput

IDS = st.text("0123456789abcdef", min_size=12, max_size=12)
UIDS = st.integers(0, 2**32 - 2)


@st.composite
def networks(draw: st.DrawFn, low: int, high: int) -> IPv4Network:
    return IPv4Network((draw(st.integers(0, 2**32 - 1)), draw(st.integers(low, high))), False)


@given(networks(8, 30), UIDS, UIDS)
def test_shares_lie_in_the_pool_and_apart(pool: IPv4Network, one: int, two: int) -> None:
    first, second = share_of(pool, one), share_of(pool, two)
    assert first.subnet_of(pool)
    assert first == second or not first.overlaps(second)
    assert first.num_addresses >= 4


def test_the_default_pool_gives_each_share_room_for_thousands() -> None:
    share = share_of(parse_pool("10.208.0.0/12"), 1000)
    assert str(share) == "10.218.0.0/18"
    assert len(list(candidates(share, "0123456789ab", []))) == 4096


@given(networks(24, 30), IDS)
def test_every_subnet_comes_once(share: IPv4Network, vm_id: str) -> None:
    found = [subnet.network for subnet in candidates(share, vm_id, [])]
    assert sorted(found) == list(share.subnets(new_prefix=30))


@given(networks(24, 28), IDS, st.lists(networks(24, 32), max_size=4), st.data())
def test_nothing_in_use_is_offered(
    share: IPv4Network, vm_id: str, others: list[IPv4Network], data: st.DataObject
) -> None:
    inside = data.draw(st.lists(st.sampled_from([*share.subnets(new_prefix=30)]), max_size=5))
    for subnet in candidates(share, vm_id, [*others, *inside]):
        assert not any(subnet.network.overlaps(other) for other in [*others, *inside])
        assert subnet.network.subnet_of(share)
        assert [subnet.gateway, subnet.guest] == [str(end) for end in subnet.network.hosts()]


def test_a_host_that_uses_the_whole_share_gets_no_subnet() -> None:
    share = share_of(parse_pool("10.208.0.0/12"), 0)
    assert list(candidates(share, "0123456789ab", [IPv4Network("10.0.0.0/8")])) == []


@given(IDS)
def test_a_vm_is_offered_the_same_again(vm_id: str) -> None:
    share = share_of(parse_pool("10.208.0.0/12"), 0)
    offers = [next(candidates(share, vm_id, [])) for _ in range(2)]
    assert offers[0] == offers[1]


def test_vms_rarely_ask_for_the_same() -> None:
    share = share_of(parse_pool("10.208.0.0/12"), 0)
    firsts = [next(candidates(share, f"{number:012x}", [])) for number in range(100)]
    pairs = itertools.combinations(firsts, 2)
    assert sum(one == two for one, two in pairs) < 10


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.208.0.0/31", "10.208.0.1/12", "fd00::/64", "x", "10.0.0.0/33"]
)
def test_pools_that_cannot_be_used(text: str) -> None:
    with pytest.raises(InvalidInput, match="network pool"):
        parse_pool(text)
