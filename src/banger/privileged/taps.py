"""Makes, marks, shows and removes TAPs; one that is so already is left as it is."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import struct

from banger.privileged import checks, kernel_files, link_setup, netlink, routes
from banger.privileged.calls import (
    CallFailed,
    TapCall,
    TapCreate,
    TapDelete,
    TapFacts,
    TapRestore,
    TapShow,
)
from banger.privileged.tap_marks import facts, own

#: linux/if_tun.h.
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOWNER = 0x400454CC
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
#: Fail instead of attaching to an interface that exists.
_IFF_TUN_EXCL = 0x8000
#: Per-interface settings, below /proc/sys/net. A VM reaches the host and, unless asked for
#: otherwise, nothing behind it, whatever the host does for its other interfaces.
_SYSCTLS = (
    ("ipv6/conf/{name}/disable_ipv6", "1"),
    ("ipv4/conf/{name}/forwarding", "0"),
    ("ipv4/conf/{name}/rp_filter", "1"),
    ("ipv4/conf/{name}/accept_redirects", "0"),
    ("ipv4/conf/{name}/send_redirects", "0"),
)


def perform(call: TapCall, _caller: int) -> TapFacts:
    """Carry out a checked call. Raises ``CallFailed`` and ``OSError``."""
    match call:
        case TapCreate():
            _create(call)
        case TapRestore():
            _restore(call)
        case TapDelete():
            _delete(call)
        case TapShow():
            pass
    return facts(call.name)


def _create(call: TapCreate) -> None:
    found = own(call.name, call.alias)
    _refuse_overlap(call)
    if found.index:
        _set_up(call)
        return
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", call.name.encode(), flags))
        fcntl.ioctl(tun, _TUNSETOWNER, call.owner_uid)
        _set_up(call)
        # Only now: if we die before, the kernel takes the unfinished interface away with us,
        # and no TAP without our mark is ever left behind.
        fcntl.ioctl(tun, _TUNSETPERSIST, 1)
    finally:
        os.close(tun)


def _set_up(call: TapCreate | TapRestore) -> None:
    for setting, value in _SYSCTLS:
        _set_sysctl(f"/proc/sys/net/{setting.format(name=call.name)}", value)
    index = facts(call.name).index
    host = checks.host_network(call.host_address)
    link_setup.set_up(
        link_setup.requests(index, call.alias, host, call.guest_address, call.guest_mac)
    )


def _restore(call: TapRestore) -> None:
    found = own(call.name, call.alias)
    if found.index:
        _set_up(call)


def _delete(call: TapDelete) -> None:
    found = own(call.name, call.alias)
    if found.index:
        netlink.delete_link(found.index)


def _refuse_overlap(call: TapCreate) -> None:
    network = checks.host_network(call.host_address).network
    for route in routes.read_routes():
        default = route.network == ipaddress.IPv4Network("0.0.0.0/0")
        if route.interface != call.name and not default and route.network.overlaps(network):
            raise CallFailed(
                "foreign", f"{network} is in use: {route.network} goes to {route.interface}"
            )


def _set_sysctl(path: str, value: str) -> None:
    try:
        if kernel_files.value(path) == value:
            return
    except FileNotFoundError:
        return  # a kernel without IPv6 has nothing to switch off
    kernel_files.change(path, value)
