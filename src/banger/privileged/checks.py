"""Decides whether a caller may have a call: every value is checked again, nobody is trusted."""

from __future__ import annotations

import ipaddress
import re

from banger.privileged import callers_files, jail_calls
from banger.privileged.calls import (
    Call,
    CallFailed,
    HostsBlockSet,
    NatApply,
    NatClear,
    ResolvedClear,
    ResolvedSet,
    RulesShow,
    SnapshotAttach,
    SnapshotDetach,
    SnapshotProbe,
    TapCreate,
    TapDelete,
    TapRestore,
    TapShow,
)
from banger.privileged.jail_calls import JailEnd, JailStart

_VM_ID = re.compile(r"[0-9a-f]{12}")
_TAP = re.compile(r"bgr([0-9a-f]{12})")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.vm")
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
_FORWARD = re.compile(r"(tcp|udp):([1-9][0-9]{0,4}):([1-9][0-9]{0,4})")
MAX_FORWARDS = 256
#: Names in the hosts file.
MAX_ENTRIES = 4096
#: Linux lets ordinary users listen from here on (ip_unprivileged_port_start).
FIRST_USER_PORT = 1024


def check(call: Call, caller_uid: int) -> None:
    """Raise ``CallFailed`` unless the user ``caller_uid`` may have ``call``."""
    if isinstance(call, HostsBlockSet):
        _check_entries(call.entries)
        return
    if isinstance(call, SnapshotAttach | SnapshotDetach):
        _check_snapshot(call, caller_uid)
        return
    if isinstance(call, SnapshotProbe | RulesShow):
        return
    vm_id = _vm_id(call.name)
    match call:
        case TapCreate():
            _check_alias(call.alias, vm_id, caller_uid)
            # Root may give an interface to whom its VMMs run as.
            allowed = call.owner_uid == caller_uid or (
                caller_uid == 0 <= call.owner_uid <= _MAX_UID
            )
            _require(allowed, f"the owner must be user {caller_uid}")
            _check_addresses(call.host_address, call.guest_address)
            check_mac(call.guest_mac)
        case TapRestore():
            _check_alias(call.alias, vm_id, caller_uid)
            _check_addresses(call.host_address, call.guest_address)
            check_mac(call.guest_mac)
        case TapDelete() | NatClear() | ResolvedClear() | JailEnd():
            _check_alias(call.alias, vm_id, caller_uid)
        case ResolvedSet():
            _check_alias(call.alias, vm_id, caller_uid)
            _check_server(call.server)
        case NatApply():
            _check_alias(call.alias, vm_id, caller_uid)
            _check_guest(call.guest_address)
            check_mac(call.guest_mac)
            _check_forwards(call.forwards, caller_uid)
            _check_dns_port(call.dns_port, caller_uid)
        case JailStart():
            _check_alias(call.alias, vm_id, caller_uid)
            problem = jail_calls.problem(call)
            _require(not problem, problem)
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


def _check_guest(guest_address: str) -> None:
    guest = _plain(guest_address)
    network = ipaddress.IPv4Network((guest, PREFIX_LENGTH), strict=False)
    _require(guest == network[2], f"{guest} is not the guest's end of {network}")
    _require_private(guest)


def parse_forward(text: str) -> tuple[str, int, int]:
    """Protocol, port of the host and port of the guest of ``tcp:8080:80``."""
    found = _FORWARD.fullmatch(text)
    if found is None:
        raise CallFailed("refused", f"{text!r:.60} is not a published port")
    host_port, guest_port = int(found[2]), int(found[3])
    _require(max(host_port, guest_port) < 65536, f"{text} holds a port above 65535")
    return found[1], host_port, guest_port


def _check_forwards(forwards: tuple[str, ...], caller_uid: int) -> None:
    _require(len(forwards) <= MAX_FORWARDS, f"more than {MAX_FORWARDS} published ports")
    parsed = [parse_forward(text) for text in forwards]
    _require(len({entry[:2] for entry in parsed}) == len(parsed), "a port is published twice")
    for _, host_port, _ in parsed:
        # As the kernel does it: what others trust to be the host's belongs to root.
        _require(
            caller_uid == 0 or host_port >= FIRST_USER_PORT,
            f"port {host_port} is below {FIRST_USER_PORT}, which only root may publish",
        )


def _check_dns_port(port: int, caller_uid: int) -> None:
    lowest = 1 if caller_uid == 0 else FIRST_USER_PORT
    _require(port == 0 or lowest <= port < 65536, f"{port} is no port for questions of guests")


def _check_server(server: str) -> None:
    address, _, port = server.partition(":")
    _require(_plain(address).is_loopback, f"{address} is not the host's own")
    number = int(port) if re.fullmatch(r"[1-9][0-9]{0,4}", port) else 0
    _require(0 < number < 65536, f"{port!r:.20} is not a port")


def _check_entries(entries: tuple[str, ...]) -> None:
    _require(len(entries) <= MAX_ENTRIES, f"more than {MAX_ENTRIES} names")
    for entry in entries:
        address, _, name = entry.partition(" ")
        try:
            found = ipaddress.IPv4Address(address)
        except ValueError as error:
            raise CallFailed("refused", f"{entry!r:.120} has no IPv4 address") from error
        _require_private(found)
        _require(bool(_NAME.fullmatch(name)), f"{name!r:.80} is not a name below .vm")


def _check_snapshot(call: SnapshotAttach | SnapshotDetach, caller_uid: int) -> None:
    _require(bool(_VM_ID.fullmatch(call.vm_id)), f"{call.vm_id!r:.60} is not the id of a VM")
    _require(0 <= caller_uid <= _MAX_UID, "the caller has no user id")
    if isinstance(call, SnapshotAttach):
        for path in (call.image, call.layer):
            callers_files.check_path(path)
        inside = call.layer.split("/")[-2] == call.vm_id
        _require(inside, f"{call.layer:.200} is not in the folder of VM {call.vm_id}")


def _plain(text: str) -> ipaddress.IPv4Address:
    _require(bool(_ADDRESS.fullmatch(text)), f"{text!r} is not an IPv4 address")
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        raise CallFailed("refused", str(error)) from error


def _require_private(address: ipaddress.IPv4Address) -> None:
    private = any(address in network for network in ALLOWED_NETWORKS)
    _require(private, f"{address} lies outside the private networks")


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
