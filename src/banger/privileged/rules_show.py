"""Tells a user what of their rules is in force, so that lost ones can be put back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from banger.privileged import nat, programs, ruleset
from banger.privileged.calls import RulesShow, TapFacts
from banger.privileged.ruleset import Guest

#: The index of the answer; see ``calls.RulesShow``.
NO_NFT, OTHER, CURRENT = -1, 0, 1


def perform(_call: RulesShow, caller: int) -> TapFacts:
    """Carry out a checked call. Raises ``CallFailed`` and ``OSError``."""
    return show(caller, has_nft=programs.find("nft") is not None)


def show(uid: int, *, has_nft: bool) -> TapFacts:
    """The answer to ``calls.RulesShow``; without the program nft there are no rules."""
    if not has_nft:
        return TapFacts("rules", NO_NFT, "")
    rules = nat.read(ruleset.table_name(uid))
    if rules is None:
        return TapFacts("rules", OTHER, "")
    known = (f"{tap}={fingerprint(guest)}" for tap, guest in sorted(rules.guests.items()))
    return TapFacts("rules", CURRENT if rules.current else OTHER, " ".join(known))


def fingerprint(guest: Guest) -> str:
    """Differs as soon as anything that is said about the guest does."""
    return hashlib.sha256(repr(tuple(guest.as_dict().values())).encode()).hexdigest()[:12]


def read_answer(answer: TapFacts) -> Mapping[str, str]:
    """The fingerprint of each TAP that is in the table."""
    return dict(entry.split("=", 1) for entry in answer.alias.split() if "=" in entry)
