"""Reads from the kernel on which ports programs of the host listen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

#: net/tcp_states.h: listening; a bound UDP socket without a peer is "closed".
_STATES = {"tcp": "0A", "udp": "07"}


def listeners(protocol: str) -> set[int]:
    """The ports on which something waits for ``tcp`` or ``udp``, on whatever address."""
    found: set[int] = set()
    for name in (protocol, f"{protocol}6"):
        with contextlib.suppress(OSError):  # a kernel without IPv6
            found.update(parse(Path("/proc/net", name).read_text(), _STATES[protocol]))
    return found


def parse(table: str, state: str) -> Iterator[int]:
    """The local ports in a table of proc(5) that are in ``state``; odd lines are left out."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == state:
            with contextlib.suppress(ValueError):
                yield int(fields[1].rpartition(":")[2], 16)
