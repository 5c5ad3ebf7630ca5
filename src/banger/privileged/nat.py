"""Lets packets between guests, host and world pass: reads, changes and writes a user's table."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from banger.privileged import kernel_files, programs, ruleset, set_kernel, tables_now
from banger.privileged.calls import CallFailed, NatApply, NatClear, TapFacts
from banger.privileged.checks import PREFIX_LENGTH, parse_forward
from banger.privileged.listeners import listeners
from banger.privileged.routes import read_routes
from banger.privileged.ruleset import Change, Guest, Rules
from banger.privileged.tables_now import Reading
from banger.privileged.tap_marks import facts, own

#: Lets nft carry out a text: whole tables are written by it, elements without.
Nft = Callable[[str], object]
_NET = Path("/sys/class/net")
_CONF = Path("/proc/sys/net/ipv4/conf")
#: Only root writes here; one lock for each user. The file also holds the interfaces whose
#: forwarding we switched on: others flush tables. Like what it tells of, it ends with a boot.
_LOCKS = Path("/run/banger-privileged")
_TABLE = re.compile(r"banger_[0-9]{1,10}")
_TAP_PREFIX = "bgr"


def perform(call: NatApply | NatClear, caller: int) -> TapFacts:
    """Carry out a checked call. Raises ``CallFailed`` and ``OSError``."""
    found = own(call.name, call.alias)
    has_nft = programs.find("nft") is not None
    if isinstance(call, NatClear):
        if has_nft:
            clear(call, caller, programs.nft)
    else:
        _require_guest(call, found)
        # Without nft, nothing passes between a guest and others, which is safe.
        if has_nft or call.internet or call.forwards:
            apply(call, caller, programs.nft)
    return facts(call.name)


def _require_guest(call: NatApply, found: TapFacts) -> None:
    if not found.index:
        raise CallFailed("failed", f"there is no interface {call.name}")
    network = ipaddress.IPv4Network((call.guest_address, PREFIX_LENGTH), strict=False)
    known = [(route.network, route.interface) for route in read_routes()]
    if (network, call.name) not in known:
        raise CallFailed("refused", f"{call.guest_address} is not behind {call.name}")


def apply(call: NatApply, uid: int, nft: Nft) -> None:
    """Carry out the call. Raises ``CallFailed`` (foreign) for a port that others use."""
    guest = guest_of(call)
    with _locked(uid) as memory:
        reading = tables_now.read(_tables)
        others = dict(reading.tables)
        before = others.pop(ruleset.table_name(uid), Rules())
        _refuse_ports_in_use(guest, before, [*others.values()])
        guests = {**before.guests, call.name: guest}
        _write(uid, reading, guests, nft, memory=memory)
        conf = _CONF / call.name
        # Connections to 127.0.0.1 come back on the TAP only with this; the table lets no
        # packet of the guest's own reach a loopback address.
        _set(conf / "route_localnet", "1" if guest.forwards else "0")
        _set(conf / "forwarding", "1")


def guest_of(call: NatApply) -> Guest:
    """What the table says of the TAP once the call is carried out."""
    return Guest(
        tap=call.name,
        mac=call.guest_mac,
        address=call.guest_address,
        internet=call.internet,
        isolated=call.isolated,
        host=call.host,
        forwards=tuple(sorted(call.forwards)),
        dns_port=call.dns_port,
    )


def clear(call: NatClear, uid: int, nft: Nft) -> None:
    """Carry out the call; what is not there is no error."""
    with _locked(uid) as memory:
        _set(_CONF / call.name / "forwarding", "0")
        reading = tables_now.read(_tables)
        before = reading.tables.get(ruleset.table_name(uid))
        if before is not None or _remembered(memory):
            before = before or Rules()
            guests = {tap: old for tap, old in before.guests.items() if tap != call.name}
            _write(uid, reading, guests, nft, memory=memory)


def _write(
    uid: int,
    reading: Reading,
    wanted: dict[str, Guest],
    nft: Nft,
    *,
    memory: int,
) -> None:
    """Write the table and switch forwarding for the interfaces that lead to the world."""
    name = ruleset.table_name(uid)
    before = reading.tables.get(name, Rules())
    others = [rules for table, rules in reading.tables.items() if table != name]
    switched = before.uplinks | _remembered(memory)
    # A TAP that is gone took its guest along.
    links = {*os.listdir(_NET)}  # noqa: PTH208 - it is quick
    rules = Rules({tap: guest for tap, guest in wanted.items() if tap in links})
    shared = frozenset[str]().union(*(other.uplinks for other in others))
    ours = frozenset[str]()
    if rules.routes:
        ours = frozenset(
            name
            for name in uplinks()
            if name in switched or name in shared or _get(_CONF / name / "forwarding") == "0"
        )
    rules = rules.replaced(uplinks=ours)
    _remember(memory, ours | switched)
    # The rules are there before anything is forwarded.
    if not rules.guests:
        nft(ruleset.render_removal(uid))
    elif before.current and _changed(uid, changes := ruleset.changes(before, rules)):
        if changes:  # else the kernel counted none of ours
            tables_now.changed(reading, name, rules.replaced(current=True))
    else:
        nft(ruleset.render(uid, rules))
    for link in ours:
        _set(_CONF / link / "forwarding", "1")
    for link in switched - ours - shared:
        _set(_CONF / link / "forwarding", "0")
    _remember(memory, ours)


def _remembered(memory: int) -> frozenset[str]:
    return frozenset(os.pread(memory, 65536, 0).decode(errors="replace").split())


def _remember(memory: int, uplinks: frozenset[str]) -> None:
    if uplinks != _remembered(memory):
        os.ftruncate(memory, 0)
        os.pwrite(memory, " ".join(sorted(uplinks)).encode(), 0)


def _changed(uid: int, changes: Sequence[Change]) -> bool:
    """Change the elements that differ; false if the table was not as it had been read."""
    try:
        set_kernel.change(ruleset.table_name(uid), changes, ruleset.SETS)
    except OSError:
        return False
    return True


def forwarding(link: str) -> bool:
    """Whether packets that come in by the interface may go on by another."""
    return _get(_CONF / link / "forwarding") == "1"


def uplinks() -> set[str]:
    """The interfaces with a route of their own that are neither loopback nor TAPs of banger."""
    names = {route.interface for route in read_routes()}
    return {name for name in names if name != "lo" and not name.startswith(_TAP_PREFIX)}


def read(table: str) -> Rules | None:
    """What a table of banger says; ``None`` if it is not there.

    Raises ``CallFailed`` (foreign) for one that others have changed, and ``OSError``.
    """
    if table not in set_kernel.tables():
        return None
    try:
        return ruleset.parse(set_kernel.content(table, ruleset.SETS))
    except FileNotFoundError:
        return None  # gone meanwhile
    except ValueError as error:
        raise ruleset.foreign() from error


def _tables() -> dict[str, Rules]:
    """The tables of all of this host's users of banger, by name."""
    names = filter(_TABLE.fullmatch, set_kernel.tables())
    return {name: rules for name in names if (rules := read(name)) is not None}


def _refuse_ports_in_use(guest: Guest, before: Rules, others: Sequence[Rules]) -> None:
    old = before.guests.get(guest.tap)
    had = {parse_forward(text)[:2] for text in old.forwards} if old else set()
    held = [other for tap, other in before.guests.items() if tap != guest.tap]
    held += [other for rules in others for other in rules.guests.values()]
    taken = {parse_forward(text)[:2] for other in held for text in other.forwards}
    for protocol, port in (parse_forward(text)[:2] for text in guest.forwards):
        if (protocol, port) in taken:
            raise CallFailed("foreign", f"port {port}/{protocol} is published by another VM")
        if (protocol, port) not in had and port in listeners(protocol):
            raise CallFailed("foreign", f"a program of the host listens on port {port}/{protocol}")


@contextlib.contextmanager
def _locked(uid: int) -> Iterator[int]:
    """Hold the user's lock; the kernel lets go of it when we end, however we end.

    Yields the descriptor of its file.
    """
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(_LOCKS / f"{uid}.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _get(path: Path) -> str:
    try:
        return kernel_files.value(path)
    except OSError:
        return ""


def _set(path: Path, value: str) -> None:
    """Write a setting of an interface; one that is gone needs none."""
    if _get(path) not in ("", value):
        with contextlib.suppress(FileNotFoundError):
            kernel_files.change(path, value)
