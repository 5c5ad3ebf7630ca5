"""Which name servers guests of this host can ask."""

from __future__ import annotations

import ipaddress
from pathlib import Path

#: The host's own file, then the one in which systemd-resolved keeps the servers behind its stub.
SOURCES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
#: Public resolvers (Cloudflare, Quad9) for a host that names none.
FALLBACK = ("1.1.1.1", "9.9.9.9")
#: resolv.conf(5): the resolver looks at no more than three.
_MOST = 3


def parse_nameservers(text: str) -> tuple[str, ...]:
    """The servers in a resolv.conf that others can reach: no loopback and no link-local ones."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ipaddress.ip_address(words[1])
        except ValueError:
            continue
        # Guests have IPv4 only.
        if address.version == 4 and not (
            address.is_loopback or address.is_link_local or address.is_unspecified
        ):
            found[str(address)] = None
    return tuple(found)[:_MOST]


def host_nameservers() -> tuple[str, ...]:
    """The servers that this host uses itself, as guests can reach them; never empty."""
    for source in SOURCES:
        try:
            found = parse_nameservers(source.read_text(errors="replace"))
        except OSError:
            continue
        if found:
            return found
    return FALLBACK
