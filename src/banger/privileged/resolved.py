"""Tells systemd-resolved which server answers below ``.vm``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from banger.privileged import programs
from banger.privileged.calls import CallFailed, ResolvedClear, ResolvedSet, TapFacts
from banger.privileged.tap_marks import facts, own

_NET = Path("/sys/class/net")
#: A line of ``resolvectl domain``: a TAP of anybody's that is asked below ``.vm``.
_WIRED = re.compile(r"^Link \d+ \((bgr[0-9a-f]{12})\):(?:.*\s)?~vm(?:\s|$)", re.MULTILINE)


def perform(call: ResolvedSet | ResolvedClear, _caller: int) -> TapFacts:
    """Carry out a checked call. Raises ``CallFailed`` and ``OSError``."""
    found = own(call.name, call.alias)
    tell(call, found.index, lambda arguments: programs.run("resolvectl", arguments, ""))
    return facts(call.name)


def tell(
    call: ResolvedSet | ResolvedClear, index: int, resolvectl: Callable[[tuple[str, ...]], str]
) -> None:
    """Carry out the call; ``index`` is the interface's, 0 if there is none.

    Raises ``CallFailed`` (foreign) while another user's names are wired: of two servers the
    resolver would believe whichever answers first.
    """
    if isinstance(call, ResolvedClear):
        if index:  # what was said of an interface goes with it
            resolvectl(("revert", call.name))
        return
    if not index:
        raise CallFailed("failed", f"there is no interface {call.name}")
    owner = call.alias.split(":")[1]
    for tap in wired(resolvectl(("domain",))):
        other = _owner(tap)
        if other not in ("", owner):
            text = f"systemd-resolved asks for .vm at user {other}'s, and one user's are wired"
            raise CallFailed("foreign", text)
    resolvectl(("dns", call.name, call.server))
    # "~": only questions below .vm go there, and it is no domain to search in.
    resolvectl(("domain", call.name, "~vm"))
    resolvectl(("default-route", call.name, "no"))


def wired(listing: str) -> list[str]:
    """The TAPs in the output of ``resolvectl domain`` that ``.vm`` is routed to."""
    return _WIRED.findall(listing)


def _owner(tap: str) -> str:
    """The user in the mark of a TAP; empty if it has none."""
    try:
        mark = (_NET / tap / "ifalias").read_text().strip()
    except OSError:
        return ""
    found = re.fullmatch(r"banger:([0-9]+):[0-9a-f]{12}", mark)
    return found[1] if found else ""
