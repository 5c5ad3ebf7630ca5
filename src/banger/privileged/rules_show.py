"""Tells a user what of their rules is in force, so that lost ones can be put back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import astuple

from banger.privileged import ruleset
from banger.privileged.calls import CallFailed, TapFacts
from banger.privileged.ruleset import Guest

#: The index of the answer; see ``calls.RulesShow``.
NO_NFT, OTHER, CURRENT = -1, 0, 1


def show(uid: int, nft: Callable[[tuple[str, ...], str], str] | None) -> TapFacts:
    """The answer to ``calls.RulesShow``; ``nft`` is ``None`` where the program is missing."""
    if nft is None:
        return TapFacts("rules", NO_NFT, "")
    try:
        listing = nft(("-j", "list", "table", "inet", ruleset.table_name(uid)), "")
    except CallFailed:
        return TapFacts("rules", OTHER, "")  # there is no table
    rules = ruleset.parse(listing)
    known = (f"{tap}={fingerprint(guest)}" for tap, guest in sorted(rules.guests.items()))
    return TapFacts("rules", CURRENT if rules.current else OTHER, " ".join(known))


def fingerprint(guest: Guest) -> str:
    """Differs as soon as anything that is said about the guest does."""
    return hashlib.sha256(repr(astuple(guest)).encode()).hexdigest()[:12]


def read_answer(answer: TapFacts) -> Mapping[str, str]:
    """The fingerprint of each TAP that is in the table."""
    return dict(entry.split("=", 1) for entry in answer.alias.split() if "=" in entry)
