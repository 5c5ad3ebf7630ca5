"""Renders a user's nftables table and reads back what it says (pure)."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from banger.privileged.calls import CallFailed
from banger.privileged.checks import PREFIX_LENGTH, parse_forward

#: What the chains do, whatever the sets hold. A guest is known by its TAP, address and MAC
#: together, before anything else is asked. Answers are told from questions by the direction of
#: their connection, so that nothing that was open stays open when NAT goes down. Where we had
#: to switch on forwarding for an interface, the host still routes for nobody but guests.
_CHAINS = """\
  chain unspoofed {
    type filter hook prerouting priority raw; policy accept;
    iifname != @taps accept
    iifname . ether saddr . ip saddr != @guests drop
    meta nfproto != ipv4 drop
    ip daddr { 127.0.0.0/8, 169.254.0.0/16 } drop
  }
  chain routed {
    type filter hook forward priority filter; policy accept;
    iifname @taps goto from_guest
    oifname @taps goto to_guest
    iifname @uplinks ct state new jump through
  }
  chain from_guest {
    ct direction reply ct state established,related accept
    oifname @taps goto between
    iifname @internet accept
    drop
  }
  chain between {
    iifname @isolated drop
    oifname @isolated drop
    accept
  }
  chain to_guest {
    oifname @internet ct direction reply ct state established,related accept
    ct status dnat accept
    drop
  }
  chain through {
    ct status dnat accept
    drop
  }
  chain to_host {
    type filter hook input priority filter; policy accept;
    iifname != @taps accept
    ct state established,related accept
    iifname @host accept
    icmp type echo-request accept
    meta l4proto { tcp, udp } th dport 53 accept
    meta l4proto { tcp, udp } ct original proto-dst 53 ct status dnat accept
    drop
  }
  chain published {
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto { tcp, udp } th dport 53 dnat ip to iifname . ip daddr map @names
    fib daddr type local dnat ip to meta l4proto . th dport map @forwards
  }
  chain published_here {
    type nat hook output priority -100; policy accept;
    fib daddr type local dnat ip to meta l4proto . th dport map @forwards
  }
  chain outward {
    type nat hook postrouting priority srcnat; policy accept;
    iifname @internet oifname != @taps masquerade
    oifname @taps ip saddr 127.0.0.0/8 masquerade
  }
"""


_SETS = {
    "taps": "ifname",
    "guests": "ifname . ether_addr . ipv4_addr",
    "internet": "ifname",
    "isolated": "ifname",
    "host": "ifname",
    "uplinks": "ifname",
    "forwards": "inet_proto . inet_service : ipv4_addr . inet_service",
    "names": "ifname . ipv4_addr : ipv4_addr . inet_service",
}
#: An empty set whose name tells by which chains and sets the table was made.
MARK = "made_" + hashlib.sha256(f"{_SETS}{_CHAINS}".encode()).hexdigest()[:12]
_SETS[MARK] = "ifname"
_KINDS = ("set", "map")


@dataclass(frozen=True, slots=True)
class Guest:
    """What is said about one TAP; see ``calls.NatApply``."""

    tap: str
    mac: str
    address: str
    internet: bool = False
    isolated: bool = False
    host: bool = False
    forwards: tuple[str, ...] = ()
    dns_port: int = 0

    @property
    def gateway(self) -> str:
        """The host's end of its network."""
        network = ipaddress.IPv4Network((self.address, PREFIX_LENGTH), strict=False)
        return str(network[1])


@dataclass(frozen=True, slots=True)
class Rules:
    """The content of one table.

    ``uplinks``: interfaces whose forwarding we switched on. ``current``: it is there already,
    with the chains that this banger writes.
    """

    guests: Mapping[str, Guest] = field(default_factory=dict)
    uplinks: frozenset[str] = frozenset()
    current: bool = field(default=False, compare=False)

    @property
    def routes(self) -> bool:
        """Whether anything may pass between a guest and what lies beyond the host."""
        return any(guest.internet or guest.forwards for guest in self.guests.values())


def table_name(uid: int) -> str:
    """The table of a user's guests, in the family ``inet``."""
    return f"banger_{uid}"


def render_removal(uid: int) -> str:
    """The text for ``nft -f -`` that leaves no table; one that is gone is no error."""
    name = table_name(uid)
    return f"table inet {name}\ndelete table inet {name}\n"


def render(uid: int, rules: Rules) -> str:
    """The text for ``nft -f -`` that puts ``rules`` in place of the table, in one go."""
    content = _content(rules)
    sets = "".join(_set(name, types, content[name]) for name, types in _SETS.items())
    return f"{render_removal(uid)}table inet {table_name(uid)} {{\n{sets}{_CHAINS}}}\n"


def render_change(uid: int, before: Rules, after: Rules) -> str:
    """The text that makes ``after`` of ``before``, in one go; empty if they are the same.

    Only elements of sets change, which costs the kernel a tenth of a new table.
    """
    old, new, table = _content(before), _content(after), table_name(uid)
    lines = []
    for name in _SETS:
        gone = [key for key, text in old[name].items() if new[name].get(key) != text]
        come = [text for key, text in new[name].items() if old[name].get(key) != text]
        for verb, elements in (("delete", gone), ("add", come)):
            if elements:
                lines.append(f"{verb} element inet {table} {name} {{ {', '.join(elements)} }}\n")
    # What is given up first, of all sets: a port may go from one guest to another.
    return "".join(sorted(lines, key=lambda line: not line.startswith("delete")))


def _content(rules: Rules) -> dict[str, dict[str, str]]:
    """The elements of each set: by key, as they are written."""
    guests = sorted(rules.guests.values(), key=lambda guest: guest.tap)

    def plain(names: Iterable[str]) -> dict[str, str]:
        return {f'"{name}"': f'"{name}"' for name in names}

    known = (f'"{guest.tap}" . {guest.mac} . {guest.address}' for guest in guests)
    return {
        "taps": plain(guest.tap for guest in guests),
        "guests": {text: text for text in known},
        "internet": plain(guest.tap for guest in guests if guest.internet),
        "isolated": plain(guest.tap for guest in guests if guest.isolated),
        "host": plain(guest.tap for guest in guests if guest.host),
        "uplinks": plain(sorted(rules.uplinks)),
        "forwards": dict(element for guest in guests for element in _forwards(guest)),
        "names": dict(_questions(guest) for guest in guests if guest.dns_port),
        MARK: {},
    }


def _set(name: str, types: str, elements: Mapping[str, str]) -> str:
    kind = "map" if " : " in types else "set"
    listed = ", ".join(elements.values())
    content = f" elements = {{ {listed} }};" if listed else ""
    return f"  {kind} {name} {{ type {types};{content} }}\n"


def _forwards(guest: Guest) -> Iterable[tuple[str, str]]:
    for protocol, host_port, guest_port in map(parse_forward, guest.forwards):
        key = f"{protocol} . {host_port}"
        yield key, f"{key} : {guest.address} . {guest_port}"


def _questions(guest: Guest) -> tuple[str, str]:
    key = f'"{guest.tap}" . {guest.gateway}'
    return key, f"{key} : {guest.gateway} . {guest.dns_port}"


def parse(listing: str) -> Rules:
    """The rules in the output of ``nft -j list table``.

    Raises ``CallFailed`` (foreign) for a table that is not of our making.
    """
    try:
        sets = _sets(json.loads(listing))
        ports: dict[str, list[str]] = {}
        for (protocol, host_port), (address, guest_port) in map(_pair, sets["forwards"]):
            ports.setdefault(address, []).append(f"{protocol}:{host_port}:{guest_port}")
        # A table of an earlier banger has no such map.
        asks = {key[0]: value[1] for key, value in map(_pair, sets.get("names", []))}
        guests = {}
        for tap, mac, address in (entry["concat"] for entry in sets["guests"]):
            guests[tap] = Guest(
                tap=tap,
                mac=mac,
                address=address,
                internet=tap in sets["internet"],
                isolated=tap in sets["isolated"],
                host=tap in sets["host"],
                forwards=tuple(sorted(ports.get(address, ()))),
                dns_port=asks.get(tap, 0),
            )
        return Rules(guests, frozenset(sets["uplinks"]), MARK in sets)
    except (KeyError, TypeError, ValueError) as error:
        text = "the table exists in nftables, and is not as banger makes it"
        raise CallFailed("foreign", text) from error


def _sets(document: Any) -> dict[str, list[Any]]:
    entries = [entry[kind] for entry in document["nftables"] for kind in entry if kind in _KINDS]
    return {entry["name"]: entry.get("elem", []) for entry in entries}


def _pair(entry: Any) -> tuple[list[Any], list[Any]]:
    key, value = entry
    return key["concat"], value["concat"]
