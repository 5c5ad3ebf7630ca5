"""The zone ``.vm``: what is answered to which question (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from banger.mapdns.records import DOMAIN, Record


class Verdict(Enum):
    """The response codes that a question can lead to (RFC 1035, 4.1.1)."""

    FOUND = 0
    NO_SUCH_NAME = 3
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """``addresses`` to put into the answer. ``authority`` asks for the zone's SOA beside them.

    ``apex`` tells that the zone itself was asked for and its SOA is the answer.
    """

    verdict: Verdict
    addresses: tuple[str, ...] = ()
    authority: bool = False
    apex: bool = False


REFUSED = Reply(Verdict.REFUSED)
_FAMILIES = {"A": (4,), "AAAA": (6,), "ANY": (4, 6)}


def look_up(table: Mapping[str, Record], name: str, kind: str) -> Reply:
    """Answer the question for ``name`` (any case, no final dot) and ``kind`` (``A``, ...).

    Only names below ``.vm`` are answered; a name of ours without such an address is found
    with no data, so that nobody takes it for absent.
    """
    wanted = name.lower()
    if wanted == DOMAIN:
        return Reply(Verdict.FOUND, authority=kind != "SOA", apex=kind == "SOA")
    if not wanted.endswith(f".{DOMAIN}"):
        return REFUSED
    record = table.get(wanted)
    if record is None:
        return Reply(Verdict.NO_SUCH_NAME, authority=True)
    families = _FAMILIES.get(kind, ())
    found = tuple(
        text for text in record.addresses if ipaddress.ip_address(text).version in families
    )
    return Reply(Verdict.FOUND, found, authority=not found)
