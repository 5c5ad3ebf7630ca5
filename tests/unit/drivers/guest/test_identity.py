"""Any legal identity reaches the guest unchanged; what would break its files is refused."""

from __future__ import annotations

import dataclasses
import ipaddress
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from banger.drivers.guest.base import Identity
from banger.drivers.guest.identity import hosts_text, identity_archive, settings_text
from banger.drivers.guest.profiles import FAST_GENERATORS, masked_units
from banger.errors import InvalidInput
from banger.model.network import Lease
from tests.unit.host.test_cpio import parse

LEASE = Lease(
    kind="tap",
    mac="02:00:00:00:00:01",
    address="172.30.0.2",
    prefix_length=30,
    gateway="172.30.0.1",
    tap="bgr0",
    ssh_host="172.30.0.2",
    ssh_port=22,
    nameservers=("9.9.9.9", "2620:fe::fe"),
)
IDENTITY = Identity(
    hostname="calm-otter",
    machine_id="0123456789abcdef" * 2,
    authorized_key='ssh-ed25519 AAAA user\'s key $(reboot) `id` "quoted"',
    host_key="-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n",
    host_public_key="ssh-ed25519 BBBB host",
    lease=LEASE,
    profile="fast",
)


def files_of(identity: Identity) -> dict[str, tuple[int, bytes]]:
    return {name: (mode, data) for name, mode, data in parse(identity_archive(identity, now=7))}


def test_what_the_archive_holds() -> None:
    files = files_of(IDENTITY)
    assert files["banger/etc/hostname"][1] == b"calm-otter\n"
    assert files["banger/etc/machine-id"][1] == IDENTITY.machine_id.encode() + b"\n"
    assert files["banger/etc/resolv.conf"][1].endswith(
        b"nameserver 9.9.9.9\nnameserver 2620:fe::fe\n"
    )
    assert files["banger/authorized_key"][1].decode() == IDENTITY.authorized_key + "\n"
    mode, key = files["banger/ssh/ssh_host_ed25519_key"]
    assert stat.S_IMODE(mode) == 0o600
    assert key.decode() == IDENTITY.host_key
    assert files["banger/run/banger/agent/main.py"][1]
    assert files["init"][1]


@pytest.mark.parametrize("profile", ["standard", "fast"])
def test_masks_are_links_to_nowhere(profile: str) -> None:
    files = files_of(structs.replace(IDENTITY, profile=profile))
    for unit in masked_units(profile):
        mode, target = files[f"banger/run/systemd/system/{unit}"]
        assert stat.S_ISLNK(mode)
        assert target == b"/dev/null"
    assert ("banger/run/systemd/system/ssh.service.d/banger.conf" in files) == (profile == "fast")


def test_only_fast_leaves_generators_out() -> None:
    folder = "banger/run/systemd/system-generators"
    for profile, names in (("standard", set()), ("fast", set(FAST_GENERATORS))):
        files = files_of(structs.replace(IDENTITY, profile=profile))
        links = {name: data for name, (_, data) in files.items() if f"{folder}/" in name}
        assert links == {f"{folder}/systemd-{name}-generator": b"/dev/null" for name in names}


def test_folders_come_first() -> None:
    seen = {"."}
    for name, _, _ in parse(identity_archive(IDENTITY, now=7)):
        assert str(Path(name).parent) in seen
        seen.add(name)


# Compiled here once: compile() on the deep stack of a hypothesis test trips over CPython 3.11.
identity_archive(IDENTITY, now=7)

ADDRESSES = st.ip_addresses(v=4).map(str)
HOSTNAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@settings(max_examples=25, deadline=None)
@given(HOSTNAMES, ADDRESSES, ADDRESSES, st.integers(0, 32), st.booleans())
def test_a_shell_reads_back_the_settings(
    hostname: str, address: str, gateway: str, prefix: int, work: bool
) -> None:
    lease = dataclasses.replace(LEASE, address=address, gateway=gateway, prefix_length=prefix)
    identity = structs.replace(IDENTITY, hostname=hostname, lease=lease, work_disk=work)
    files = files_of(identity)
    script = files["banger/identity"][1] + (
        b'printf "%s\\n" "$HOSTNAME" "$ADDRESS" "$PREFIX" "$GATEWAY" '
        b'"$PROFILE" "$WORK_DISK" "$CLOCK"'
    )
    shown = subprocess.run(["sh", "-s"], input=script, capture_output=True, check=True).stdout
    want = [hostname, address, str(prefix), gateway, "fast", "1" if work else "", "7"]
    assert shown.decode().split("\n")[:-1] == want


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_a_shell_takes_no_command_from_a_hostile_value(text: str) -> None:
    identity = structs.replace(IDENTITY, profile=text)
    script = settings_text(identity, 7) + 'printf "%s" "$PROFILE"'
    done = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode() == text
    assert not done.stderr


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostname", ""),
        ("hostname", "a b"),
        ("hostname", "-a"),
        ("hostname", "a\nb"),
        ("hostname", "a\n"),
        ("hostname", "x" * 65),
        ("machine_id", "xyz"),
        ("machine_id", "0" * 32 + "\n0"),
        ("authorized_key", ""),
        ("authorized_key", "ssh-ed25519 AAAA\nssh-ed25519 BBBB"),
        ("host_public_key", "a\x1b[2J"),
        ("profile", "quick"),
    ],
)
def test_what_is_refused(field: str, value: str) -> None:
    changed: dict[str, Any] = {field: value}
    with pytest.raises(InvalidInput):
        identity_archive(structs.replace(IDENTITY, **changed), now=7)


@pytest.mark.parametrize("field", ["address", "gateway"])
def test_addresses_are_addresses(field: str) -> None:
    changed: dict[str, Any] = {field: "1.2.3.4; reboot"}
    lease = dataclasses.replace(LEASE, **changed)
    with pytest.raises(InvalidInput):
        identity_archive(structs.replace(IDENTITY, lease=lease), now=7)


def test_no_gateway_and_no_name_server_are_fine() -> None:
    lease = dataclasses.replace(LEASE, gateway="", nameservers=())
    files = files_of(structs.replace(IDENTITY, lease=lease))
    assert b"nameserver" not in files["banger/etc/resolv.conf"][1]


def test_a_domain_name_gives_the_short_name_too() -> None:
    identity = structs.replace(IDENTITY, hostname="web.example.org")
    assert "127.0.1.1 web.example.org web\n" in hosts_text(identity)
    for line in hosts_text(identity).splitlines():
        ipaddress.ip_address(line.split()[0])
