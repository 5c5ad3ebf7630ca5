from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.host import nameservers
from banger.host.nameservers import FALLBACK, host_nameservers, parse_nameservers

STUB = "# made by systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n"
REAL = (
    "nameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n"
    "nameserver x\nnameserver\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"
    "nameserver 169.254.1.1\nnameserver 0.0.0.0\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
)


def test_servers_that_guests_can_reach() -> None:
    assert parse_nameservers(STUB) == ()
    assert parse_nameservers(REAL) == ("192.0.2.1", "192.0.2.2", "192.0.2.3")


def test_the_servers_behind_a_stub_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = (tmp_path / "own", tmp_path / "resolved")
    monkeypatch.setattr(nameservers, "SOURCES", sources)
    assert host_nameservers() == FALLBACK
    sources[0].write_text(STUB)
    assert host_nameservers() == FALLBACK
    sources[1].write_text(REAL)
    assert host_nameservers()[0] == "192.0.2.1"


@given(st.text())
def test_odd_files_are_read(text: str) -> None:
    parse_nameservers(text)


@given(st.ip_addresses())
def test_only_addresses_come_out(address: object) -> None:
    for found in parse_nameservers(f"nameserver {address}"):
        assert ip_address(found) == address
