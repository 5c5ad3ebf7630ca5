"""What a user's nftables table says: as text, as changes of its sets, and read back (pure)."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from banger.privileged.calls import CallFailed
from banger.privileged.checks import PREFIX_LENGTH, parse_forward
from banger.privileged.frozen import Frozen
from banger.privileged.set_elements import Form, Parts, written

#: An address of the host's own that nobody uses.
CANARY = "127.66.78.71"
#: What the chains do, whatever the sets hold. A guest is known by its TAP, address and MAC
#: together, before anything else is asked. Answers are told from questions by the direction of
#: their connection, so that nothing that was open stays open when NAT goes down. Where we had
#: to switch on forwarding for an interface, the host still routes for nobody but guests.
#: Where a guest's questions are led to a port that anybody may listen on, only the user's own
#: process (UID) may answer them. And what a user sends to the canary is dropped, which tells
#: the user that the table is in force.
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
  chain from_host {
    type filter hook output priority filter; policy accept;
    ip daddr CANARY meta skuid UID drop
    oifname != @taps accept
    meta l4proto { tcp, udp } ct original proto-dst 53 ct status dnat meta skuid != UID drop
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


_INTERFACES = Form(("ifname",))
SETS = {
    "taps": _INTERFACES,
    "guests": Form(("ifname", "ether_addr", "ipv4_addr")),
    "internet": _INTERFACES,
    "isolated": _INTERFACES,
    "host": _INTERFACES,
    "uplinks": _INTERFACES,
    "forwards": Form(("inet_proto", "inet_service"), ("ipv4_addr", "inet_service")),
    "names": Form(("ifname", "ipv4_addr"), ("ipv4_addr", "inet_service")),
}
#: An empty set whose name tells by which chains and sets the table was made.
MARK = "made_" + hashlib.sha256(f"{SETS}{_CHAINS}{CANARY}".encode()).hexdigest()[:12]
SETS[MARK] = _INTERFACES
#: The elements of each set: by key what it leads to, which is nothing but in a map.
Content = Mapping[str, Mapping[Parts, Parts]]


class Change(Frozen):
    """Elements that come into a set (``adds``) or leave it."""

    name: str
    adds: bool
    elements: Mapping[Parts, Parts]


class Guest(Frozen):
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


class Rules(Frozen):
    """The content of one table.

    ``uplinks``: interfaces whose forwarding we switched on. ``current``: it is there already,
    with the chains that this banger writes.
    """

    guests: Mapping[str, Guest] = MappingProxyType({})
    uplinks: frozenset[str] = frozenset()
    current: bool = False

    def __eq__(self, other: object) -> bool:
        # Two tables that say the same are equal, whoever's chains are in them.
        if not isinstance(other, Rules):
            return NotImplemented
        return (self.guests, self.uplinks) == (other.guests, other.uplinks)

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
    content = content_of(rules)
    sets = "".join(_set(name, form, content[name]) for name, form in SETS.items())
    chains = _CHAINS.replace("UID", str(uid)).replace("CANARY", CANARY)
    return f"{render_removal(uid)}table inet {table_name(uid)} {{\n{sets}{chains}}}\n"


def changes(before: Rules, after: Rules) -> Sequence[Change]:
    """What makes ``after`` of ``before``; empty if they are the same.

    Only elements of sets change, which costs the kernel a tenth of a new table.
    """
    old, new = content_of(before), content_of(after)
    gone, come = [], []
    for name in SETS:
        left = {key: value for key, value in old[name].items() if new[name].get(key) != value}
        added = {key: value for key, value in new[name].items() if old[name].get(key) != value}
        gone += [Change(name, adds=False, elements=left)] if left else []
        come += [Change(name, adds=True, elements=added)] if added else []
    # What is given up first, of all sets: a port may go from one guest to another.
    return [*gone, *come]


def content_of(rules: Rules) -> Content:
    """The elements of each set."""
    guests = sorted(rules.guests.values(), key=lambda guest: guest.tap)

    def plain(names: Iterable[str]) -> dict[Parts, Parts]:
        return {(name,): () for name in names}

    return {
        "taps": plain(guest.tap for guest in guests),
        "guests": {(guest.tap, guest.mac, guest.address): () for guest in guests},
        "internet": plain(guest.tap for guest in guests if guest.internet),
        "isolated": plain(guest.tap for guest in guests if guest.isolated),
        "host": plain(guest.tap for guest in guests if guest.host),
        "uplinks": plain(sorted(rules.uplinks)),
        "forwards": dict(element for guest in guests for element in _forwards(guest)),
        "names": dict(_questions(guest) for guest in guests if guest.dns_port),
        MARK: {},
    }


def _set(name: str, form: Form, elements: Mapping[Parts, Parts]) -> str:
    kind = "map" if form.value else "set"
    listed = ", ".join(
        written(form.key, key) + (f" : {written(form.value, value)}" if form.value else "")
        for key, value in elements.items()
    )
    content = f" elements = {{ {listed} }};" if listed else ""
    return f"  {kind} {name} {{ type {form.text};{content} }}\n"


def _forwards(guest: Guest) -> Iterable[tuple[Parts, Parts]]:
    for protocol, host_port, guest_port in map(parse_forward, guest.forwards):
        yield (protocol, str(host_port)), (guest.address, str(guest_port))


def _questions(guest: Guest) -> tuple[Parts, Parts]:
    return (guest.tap, guest.gateway), (guest.gateway, str(guest.dns_port))


def parse(content: Content) -> Rules:
    """The rules that a table's sets hold.

    Raises ``CallFailed`` (foreign) for a table that is not of our making.
    """
    try:
        ports: dict[str, list[str]] = {}
        for (protocol, host_port), (address, guest_port) in content["forwards"].items():
            ports.setdefault(address, []).append(f"{protocol}:{host_port}:{guest_port}")
        # A table of an earlier banger has no such map.
        asks = {key[0]: int(value[1]) for key, value in content.get("names", {}).items()}
        guests = {}
        for tap, mac, address in content["guests"]:
            guests[tap] = Guest(
                tap=tap,
                mac=mac,
                address=address,
                internet=(tap,) in content["internet"],
                isolated=(tap,) in content["isolated"],
                host=(tap,) in content["host"],
                forwards=tuple(sorted(ports.get(address, ()))),
                dns_port=asks.get(tap, 0),
            )
        uplinks = frozenset(name for (name,) in content["uplinks"])
        return Rules(guests, uplinks, MARK in content)
    except (KeyError, TypeError, ValueError) as error:
        raise foreign() from error


def foreign() -> CallFailed:
    """The refusal of a table that others have made or changed."""
    return CallFailed("foreign", "the table exists in nftables, and is not as banger makes it")
