from __future__ import annotations

import struct
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.privileged import execute, resolved, tap_marks, taps
from banger.privileged.calls import CallFailed, TapCreate, TapShow
from banger.privileged.routes import parse_routes

ID = "0123456789ab"
CREATE = TapCreate(
    name=f"bgr{ID}",
    owner_uid=0,
    alias=f"banger:0:{ID}",
    host_address="10.208.4.1/30",
    guest_address="10.208.4.2",
    guest_mac="02:11:22:33:44:55",
)
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
wg0\t0004D00A\t00000000\t0001\t0\t0\t0\tFCFFFFFF\t0\t0\t0
odd\t00
odd\tXX000000\t00000000\t0001\t0\t0\t0\tFCFFFFFF\t0\t0\t0
"""


def test_routes_are_read() -> None:
    assert [(str(route.network), route.interface) for route in parse_routes(ROUTES)] == [
        ("0.0.0.0/0", "eth0"),
        ("192.168.0.0/24", "eth0"),
        ("10.208.4.0/30", "wg0"),
    ]


@given(st.text())
def test_odd_route_tables_are_read(table: str) -> None:
    list(parse_routes(table))
    list(parse_routes("head\n" + table))


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_every_route_is_read_back(address: int, length: int) -> None:
    network = IPv4Network((address, length), strict=False)
    row = f"x\t{_hex(int(network.network_address))}\t0\t1\t0\t0\t0\t{_hex(int(network.netmask))}\t0"
    assert [route.network for route in parse_routes("head\n" + row)] == [network]


def _hex(value: int) -> str:
    return f"{struct.unpack('<I', struct.pack('>I', value))[0]:08X}"


def test_an_overlap_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: ROUTES)
    with pytest.raises(CallFailed, match=r"10\.208\.4\.0/30 goes to wg0") as caught:
        taps._refuse_overlap(CREATE)
    assert caught.value.reason == "foreign"


def test_every_call_is_checked_before_any_is_carried_out() -> None:
    bad = TapShow("eth0")
    with pytest.raises(CallFailed, match="eth0"):
        execute.perform([CREATE, bad], 0)
    assert tap_marks.facts(CREATE.name).index == 0


def test_an_absent_tap_is_shown() -> None:
    (shown,) = execute.perform([TapShow(f"bgr{ID}")], 1000)
    assert (shown.name, shown.index, shown.alias) == (f"bgr{ID}", 0, "")


def test_who_is_wired_to_systemd_resolved() -> None:
    listing = (
        "Global:\nLink 2 (eth0): example.org\nLink 3 (bgr0123456789ab): ~vm\n"
        "Link 4 (bgrabcdef012345):\nLink 5 (bgr00000000beef): lan ~vm\nLink 6 (vmnet): ~vm\n"
    )
    assert resolved.wired(listing) == ["bgr0123456789ab", "bgr00000000beef"]
