"""Decides whether a caller may have a call: every value is checked again, nobody is trusted."""

from __future__ import annotations

import ipaddress
import re

from banger.privileged.calls import Call, CallFailed, TapCreate, TapDelete, TapShow

_TAP = re.compile(r"bgr([0-9a-f]{12})")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
#: Where the pools of users may lie: private use (RFC 1918) and shared space (RFC 6598).
ALLOWED_NETWORKS = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
#: A VM's own network: host, guest, and the two addresses that every subnet loses.
PREFIX_LENGTH = 30
_MAX_UID = 2**32 - 2


def check(call: Call, caller_uid: int) -> None:
    """Raise ``CallFailed`` unless the user ``caller_uid`` may have ``call``."""
    vm_id = _vm_id(call.name)
    match call:
        case TapCreate():
            _check_alias(call.alias, vm_id, caller_uid)
            _require(call.owner_uid == caller_uid, f"the owner must be user {caller_uid}")
            _check_addresses(call.host_address, call.guest_address)
            check_mac(call.guest_mac)
        case TapDelete():
            _check_alias(call.alias, vm_id, caller_uid)
        case TapShow():
            pass


def check_mac(mac: str) -> None:
    """Raise ``CallFailed`` unless ``mac`` is a locally administered unicast address."""
    _require(bool(_MAC.fullmatch(mac)), f"{mac!r} is not a MAC address")
    # Bit 0 of the first byte means multicast, bit 1 locally administered (IEEE 802).
    _require(int(mac[:2], 16) & 3 == 2, f"{mac} is not locally administered unicast")


def host_network(host_address: str) -> ipaddress.IPv4Interface:
    """The host's end, checked for form: four plain numbers and a prefix length of 30."""
    address, slash, length = host_address.partition("/")
    _require(slash == "/" and length == str(PREFIX_LENGTH), f"{host_address!r} is not a /30")
    return ipaddress.IPv4Interface((_plain(address), PREFIX_LENGTH))


def _check_addresses(host_address: str, guest_address: str) -> None:
    host = host_network(host_address)
    _require(
        any(host.network.subnet_of(allowed) for allowed in ALLOWED_NETWORKS),
        f"{host.network} lies outside the private networks",
    )
    first, second = host.network.hosts()
    _require(host.ip == first, f"the host's end of {host.network} must be {first}")
    _require(_plain(guest_address) == second, f"the guest's end of {host.network} is {second}")


def _plain(text: str) -> ipaddress.IPv4Address:
    _require(bool(_ADDRESS.fullmatch(text)), f"{text!r} is not an IPv4 address")
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        raise CallFailed("refused", str(error)) from error


def _vm_id(name: str) -> str:
    found = _TAP.fullmatch(name)
    if found is None:
        raise CallFailed("refused", f"{name!r} is not the name of a TAP of banger")
    return found[1]


def _check_alias(alias: str, vm_id: str, caller_uid: int) -> None:
    _require(0 <= caller_uid <= _MAX_UID, "the caller has no user id")
    expected = f"banger:{caller_uid}:{vm_id}"
    _require(alias == expected, f"the mark must be {expected}, not {alias!r}")


def _require(condition: bool, text: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise CallFailed("refused", text)
