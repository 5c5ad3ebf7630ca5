"""Lines of a serial console that look like faults and are none on these machines (pure)."""

from __future__ import annotations

import re
from typing import NamedTuple


class ExpectedLine(NamedTuple):
    """A pattern, found anywhere in a line, and why such a line is no fault."""

    pattern: re.Pattern[bytes]
    why: str


#: Of spec row V5, and those that real boots of our images and of users' own have shown.
EXPECTED = (
    ExpectedLine(
        re.compile(rb"PCI: Fatal: No config space access function found"),
        "these machines have no PCI bus",
    ),
    ExpectedLine(
        re.compile(rb"MissingAddressRange"),
        "the machine describes no memory for a PCI bus, because it has none",
    ),
    ExpectedLine(
        re.compile(rb"SELinux: +Could not open policy file"),
        "the root file system has no SELinux policy",
    ),
    ExpectedLine(
        re.compile(rb"reboot: Power off not available: System halted instead"),
        "Firecracker has no power switch; banger ends it when the guest has halted",
    ),
    ExpectedLine(
        re.compile(rb"hrtimer: interrupt took [0-9]+ ns"),
        "the host was busy for a moment",
    ),
)


def why_expected(line: bytes) -> str:
    """Why ``line`` is no fault; empty for any other line."""
    return next((known.why for known in EXPECTED if known.pattern.search(line)), "")
