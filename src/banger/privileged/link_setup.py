"""Marks, addresses and raises an interface, and enters the neighbour behind it, by rtnetlink."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence

from banger.privileged.netlink import ACK, CREATE, REPLACE, REQUEST, Kernel, Message, attribute

#: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h, linux/if.h.
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWNEIGH = 16, 20, 28
_IFLA_IFALIAS = 20
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_PERMANENT = 0x80
_IFF_UP = 0x1
#: family, type, index, flags, mask of flags.
_LINK = struct.Struct("=BxHiLL")
#: family, prefix length, flags, scope, index.
_ADDRESS = struct.Struct("=BBBBL")
#: family, index, state, flags, type.
_NEIGHBOUR = struct.Struct("=B3xiHBB")


def requests(
    index: int, alias: str, host: ipaddress.IPv4Interface, guest: str, mac: str
) -> Sequence[Message]:
    """What the kernel is asked for, in order; each accepts that it is so already.

    The mark comes first, so that nothing without it is ever up. The neighbour comes last: an
    interface that goes up forgets its neighbours.
    """
    flags = REQUEST | ACK
    link = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    raised = _LINK.pack(socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP)
    address = _ADDRESS.pack(socket.AF_INET, host.network.prefixlen, 0, 0, index)
    neighbour = _NEIGHBOUR.pack(socket.AF_INET, index, _NUD_PERMANENT, 0, 0)
    lladdr = bytes.fromhex(mac.replace(":", ""))
    return (
        Message(_RTM_NEWLINK, flags, link + attribute(_IFLA_IFALIAS, alias.encode())),
        Message(
            _RTM_NEWADDR,
            flags | CREATE | REPLACE,
            address
            + attribute(_IFA_LOCAL, host.ip.packed)
            + attribute(_IFA_ADDRESS, host.ip.packed),
        ),
        Message(_RTM_NEWLINK, flags, raised),
        Message(
            _RTM_NEWNEIGH,
            flags | CREATE | REPLACE,
            neighbour
            + attribute(_NDA_DST, socket.inet_aton(guest))
            + attribute(_NDA_LLADDR, lladdr),
        ),
    )


def set_up(wanted: Sequence[Message]) -> None:
    """Ask for all of it at once. Raises ``OSError``."""
    with Kernel(socket.NETLINK_ROUTE) as kernel:
        kernel.do(wanted)
