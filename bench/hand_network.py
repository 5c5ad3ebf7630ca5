"""A TAP and its rules for a VM, made as a script by hand would: ioctls, and one batch for nft."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

from banger.naming import mac_address, tap_name
from banger.privileged.netlink import delete_link

_TABLE = "banger_bench"
#: One chain that lets only the guest's own packets pass; its sets hold what each VM adds.
_RULES = f"""\
table inet {_TABLE} {{
  set taps {{ type ifname; }}
  set guests {{ type ifname . ether_addr . ipv4_addr; }}
  chain unspoofed {{
    type filter hook prerouting priority raw; policy accept;
    iifname != @taps accept
    iifname . ether saddr . ip saddr != @guests drop
  }}
}}
"""
#: linux/if_tun.h, linux/sockios.h, linux/if.h.
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914
_IFF_UP = 0x1


@dataclass(slots=True)
class HandNetwork:
    """The TAPs that were made, in the order of their addresses."""

    taps: list[str] = field(default_factory=list)

    async def attach(self, vm_id: str) -> str:
        """Make the VM's TAP, address and raise it, and add the VM to the table; its name."""
        name = tap_name(vm_id)
        self.taps.append(name)
        network = 4 * len(self.taps)
        # 198.18.0.0/15 is for benchmarks (RFC 2544), so no network of the host's is in the way.
        host, guest = (f"198.18.{n >> 8}.{n & 255}" for n in (network + 1, network + 2))
        rules = (
            f"add element inet {_TABLE} taps {{ {name} }}\n"
            f"add element inet {_TABLE} guests {{ {name} . {mac_address(vm_id)} . {guest} }}\n"
        )
        await asyncio.to_thread(_make, name, host, rules)
        return name


@contextlib.contextmanager
def hand_network() -> Iterator[HandNetwork]:
    """The table for the time of the block, and no TAP left behind it."""
    _nft(_RULES)
    made = HandNetwork()
    try:
        yield made
    finally:
        for name in made.taps:
            with contextlib.suppress(OSError):
                delete_link(socket.if_nametoindex(name))
        _nft(f"delete table inet {_TABLE}\n")


def _make(name: str, host: str, rules: str) -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(tun, _TUNSETOWNER, os.getuid())
        fcntl.ioctl(tun, _TUNSETPERSIST, 1)
    finally:
        os.close(tun)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        for number, address in ((_SIOCSIFADDR, host), (_SIOCSIFNETMASK, "255.255.255.252")):
            place = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(kernel, number, struct.pack("16s16s8x", name.encode(), place))
        fcntl.ioctl(kernel, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), _IFF_UP))
    _nft(rules)


def _nft(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text.encode(), check=True)
