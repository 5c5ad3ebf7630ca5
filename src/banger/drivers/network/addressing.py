"""Divides the address pool between the host's users and each user's share between VMs."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Sequence

from msgspec import Struct

from banger.errors import InvalidInput

#: A VM has a network of its own: the host's end, the guest's end, and two unusable addresses.
PREFIX_LENGTH = 30
#: Into how many shares a pool is cut, as long as each keeps room for one VM. Two users whose
#: numbers agree modulo 64 get the same share: then each avoids what the other has in use.
SHARES = 64


class Subnet(Struct, frozen=True):
    """The network of one VM."""

    network: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        """The host's end."""
        return str(self.network[1])

    @property
    def guest(self) -> str:
        """The guest's end."""
        return str(self.network[2])


def parse_pool(text: str) -> ipaddress.IPv4Network:
    """The pool in ``text`` (``10.208.0.0/12``). Raises ``InvalidInput``."""
    try:
        pool = ipaddress.IPv4Network(text)
        problem = f"it has room for no /{PREFIX_LENGTH}" if pool.prefixlen > PREFIX_LENGTH else ""
    except ValueError as error:
        problem = str(error)
    if problem:
        raise InvalidInput(
            f"the network pool {text!r} cannot be used",
            cause=problem,
            resolution='set network_pool to a private network such as "10.208.0.0/12"',
        )
    return pool


def share_of(pool: ipaddress.IPv4Network, uid: int) -> ipaddress.IPv4Network:
    """The part of the pool that the VMs of the user ``uid`` take their addresses from."""
    bits = min(SHARES.bit_length() - 1, PREFIX_LENGTH - pool.prefixlen)
    shares = 1 << bits
    size = pool.num_addresses // shares
    first = int(pool.network_address) + (uid % shares) * size
    return ipaddress.IPv4Network((first, pool.prefixlen + bits))


def candidates(
    share: ipaddress.IPv4Network, vm_id: str, in_use: Sequence[ipaddress.IPv4Network]
) -> Iterator[Subnet]:
    """Every subnet of the share that overlaps nothing in use, each once.

    The first follows from the VM's id, so that many VMs rarely ask for the same one.
    """
    relevant = [network for network in in_use if network.overlaps(share)]
    count = 1 << (PREFIX_LENGTH - share.prefixlen)
    start = spread(f"address:{vm_id}", count)
    for step in range(count):
        offset = (start + step) % count << (32 - PREFIX_LENGTH)
        network = ipaddress.IPv4Network((int(share.network_address) + offset, PREFIX_LENGTH))
        if not any(network.overlaps(other) for other in relevant):
            yield Subnet(network)


def spread(seed: str, count: int) -> int:
    """A number below ``count`` that follows from ``seed`` alone."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % count
