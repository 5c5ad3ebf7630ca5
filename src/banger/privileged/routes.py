"""Reads the kernel's IPv4 routes."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterator
from pathlib import Path

from banger.privileged.frozen import Frozen


class Route(Frozen):
    """A destination and the interface that leads there."""

    network: ipaddress.IPv4Network
    interface: str


def read_routes() -> Iterator[Route]:
    """The routes of our network namespace now. Raises ``OSError``."""
    return parse_routes(Path("/proc/net/route").read_text())


def parse_routes(table: str) -> Iterator[Route]:
    """The routes in the text of ``/proc/net/route`` (proc(5)); odd lines are left out."""
    return filter(None, map(_route, table.splitlines()[1:]))


@functools.lru_cache(maxsize=4096)
def _route(line: str) -> Route | None:
    # Kept: a table with a line for each VM is read twice in every start.
    fields = line.split()
    if len(fields) < 8:
        return None
    try:
        address, mask = _address(fields[1]), _address(fields[7])
        return Route(ipaddress.IPv4Network(f"{address}/{mask}"), fields[0])
    except ValueError:
        return None


def _address(text: str) -> ipaddress.IPv4Address:
    # The kernel prints the four bytes as one number of the machine's own byte order.
    return ipaddress.IPv4Address(int(text, 16).to_bytes(4, "little"))
