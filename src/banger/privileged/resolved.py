"""Tells systemd-resolved which server answers below ``.vm``."""

from __future__ import annotations

from collections.abc import Callable

from banger.privileged.calls import CallFailed, ResolvedClear, ResolvedSet


def tell(
    call: ResolvedSet | ResolvedClear, index: int, resolvectl: Callable[[tuple[str, ...]], str]
) -> None:
    """Carry out the call; ``index`` is the interface's, 0 if there is none."""
    if isinstance(call, ResolvedClear):
        if index:  # what was said of an interface goes with it
            resolvectl(("revert", call.name))
        return
    if not index:
        raise CallFailed("failed", f"there is no interface {call.name}")
    resolvectl(("dns", call.name, call.server))
    # "~": only questions below .vm go there, and it is no domain to search in.
    resolvectl(("domain", call.name, "~vm"))
    resolvectl(("default-route", call.name, "no"))
