"""Lets packets between guests, host and world pass: reads, changes and writes a user's table."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from banger.privileged import ruleset
from banger.privileged.calls import CallFailed, NatApply, NatClear
from banger.privileged.checks import parse_forward
from banger.privileged.listeners import listeners
from banger.privileged.routes import parse_routes
from banger.privileged.ruleset import Guest, Rules

#: Runs nft with arguments and standard input, and returns what it printed.
Nft = Callable[[tuple[str, ...], str], str]
_NET = Path("/sys/class/net")
_CONF = Path("/proc/sys/net/ipv4/conf")
#: Only root writes here; one lock for each user.
_LOCKS = Path("/run/banger-privileged")
_TABLE = re.compile(r"banger_[0-9]{1,10}")
_TAP_PREFIX = "bgr"


def apply(call: NatApply, uid: int, nft: Nft) -> None:
    """Carry out the call. Raises ``CallFailed`` (foreign) for a port that others use."""
    guest = Guest(
        tap=call.name,
        mac=call.guest_mac,
        address=call.guest_address,
        internet=call.internet,
        isolated=call.isolated,
        host=call.host,
        forwards=tuple(sorted(call.forwards)),
    )
    with _locked(uid):
        before = _read(uid, nft)
        _refuse_ports_in_use(guest, before, uid, nft)
        others = {tap: old for tap, old in before.guests.items() if tap != call.name}
        _write(uid, dataclasses.replace(before, guests={**others, call.name: guest}), nft)
        conf = _CONF / call.name
        # Connections to 127.0.0.1 come back on the TAP only with this; the table lets no
        # packet of the guest's own reach a loopback address.
        _set(conf / "route_localnet", "1" if guest.forwards else "0")
        _set(conf / "forwarding", "1")


def clear(call: NatClear, uid: int, nft: Nft) -> None:
    """Carry out the call; what is not there is no error."""
    with _locked(uid):
        before = _read(uid, nft)
        _set(_CONF / call.name / "forwarding", "0")
        guests = {tap: old for tap, old in before.guests.items() if tap != call.name}
        if before != Rules():
            _write(uid, dataclasses.replace(before, guests=guests), nft)


def _write(uid: int, wanted: Rules, nft: Nft) -> None:
    """Write the table and switch forwarding for the interfaces that lead to the world."""
    # A TAP that is gone took its guest along.
    guests = {tap: guest for tap, guest in wanted.guests.items() if (_NET / tap).exists()}
    rules = dataclasses.replace(wanted, guests=guests)
    others = frozenset().union(*(_uplinks_of(table, nft) for table in _tables(nft, except_of=uid)))
    ours = frozenset[str]()
    if rules.routes:
        ours = frozenset(
            name
            for name in uplinks()
            if name in wanted.uplinks or name in others or _get(_CONF / name / "forwarding") == "0"
        )
    text = ruleset.render(uid, dataclasses.replace(rules, uplinks=ours))
    # Before forwarding is on, the rules are; after it is off, they go.
    nft(("-f", "-"), text if guests else ruleset.render_removal(uid))
    for name in ours:
        _set(_CONF / name / "forwarding", "1")
    for name in wanted.uplinks - ours - others:
        _set(_CONF / name / "forwarding", "0")


def uplinks() -> set[str]:
    """The interfaces with a route of their own that are neither loopback nor TAPs of banger."""
    routes = parse_routes(Path("/proc/net/route").read_text())
    names = {route.interface for route in routes}
    return {name for name in names if name != "lo" and not name.startswith(_TAP_PREFIX)}


def _read(uid: int, nft: Nft) -> Rules:
    name = ruleset.table_name(uid)
    if name not in _tables(nft):
        return Rules()
    return ruleset.parse(nft(("-j", "list", "table", "inet", name), ""))


def _tables(nft: Nft, *, except_of: int | None = None) -> list[str]:
    """The tables of all of this host's users of banger, but for one of them."""
    document = json.loads(nft(("-j", "list", "tables", "inet"), ""))
    names = [entry["table"]["name"] for entry in document["nftables"] if "table" in entry]
    skipped = "" if except_of is None else ruleset.table_name(except_of)
    return [name for name in names if _TABLE.fullmatch(name) and name != skipped]


def _rules_of(table: str, nft: Nft) -> Rules:
    try:
        return ruleset.parse(nft(("-j", "list", "table", "inet", table), ""))
    except CallFailed:
        return Rules()  # gone meanwhile, or foreign: then nothing of it concerns us


def _uplinks_of(table: str, nft: Nft) -> frozenset[str]:
    return _rules_of(table, nft).uplinks


def _refuse_ports_in_use(guest: Guest, before: Rules, uid: int, nft: Nft) -> None:
    old = before.guests.get(guest.tap)
    kept = set(old.forwards) if old else set()
    new = [parse_forward(text)[:2] for text in guest.forwards if text not in kept]
    if not new:
        return
    others = [other for tap, other in before.guests.items() if tap != guest.tap]
    for table in _tables(nft, except_of=uid):
        others += _rules_of(table, nft).guests.values()
    taken = {parse_forward(text)[:2] for other in others for text in other.forwards}
    had = {parse_forward(text)[:2] for text in kept}
    for protocol, port in new:
        if (protocol, port) in taken:
            raise CallFailed("foreign", f"port {port}/{protocol} is published by another VM")
        if (protocol, port) not in had and port in listeners(protocol):
            raise CallFailed("foreign", f"a program of the host listens on port {port}/{protocol}")


@contextlib.contextmanager
def _locked(uid: int) -> Iterator[None]:
    """Hold the user's lock; the kernel lets go of it when we end, however we end."""
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(_LOCKS / f"{uid}.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _get(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _set(path: Path, value: str) -> None:
    """Write a setting of an interface; one that is gone needs none."""
    if _get(path) not in ("", value):
        with contextlib.suppress(FileNotFoundError):
            path.write_text(value)
