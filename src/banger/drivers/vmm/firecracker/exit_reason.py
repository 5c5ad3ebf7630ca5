"""Tells from notes, console and log of a Firecracker that ended why it did (pure).

Firecracker ends with status 0 for a reboot, a panic and a triple fault alike, and writes no
events. What it knows stands in its log, what the guest meant on the console, and what banger
did in notes of its own: one JSON object a line in the file of events.
"""

from __future__ import annotations

import json
import re

from banger.drivers.vmm.base import VMMExit
from banger.drivers.vmm.console_log import plain
from banger.model.lifecycle import ExitReason

#: What a guest prints before it resets a machine that it cannot switch off.
POWER_OFF_MARK = "banger: power off"
#: What every Linux prints, whatever its log level, when it gives up.
_PANIC = "Kernel panic - not syncing"
#: The kernel's last words: the machine stays on, for Firecracker has no switch. A newer one
#: (Debian's 6.12) says first that it knows of none.
_HALTED = re.compile(
    r"reboot: (?:Power off not available: )?(?:Power down|System halted)[^\n]*\s*\Z"
)
_GUEST_ENDED = "Firecracker exiting successfully"
#: Lines of the log that tell of no failure: what the API was asked, and the start.
_ROUTINE = re.compile(
    r"The API server received|The request was executed successfully|Vmm is stopping"
    r"|Running Firecracker|Listening on API socket|API server started|Artificially kick devices"
    r"|VcpuEvent::Resume"
)
_STAMP = re.compile(r"^\S+ \[[^\]]*\] ")
_DETAIL_LINES, _DETAIL_LENGTH = 12, 2000
_NOTE = "banger"


def note(**facts: object) -> bytes:
    """A line for the file of events."""
    return json.dumps({_NOTE: facts}).encode() + b"\n"


def notes(events: str) -> dict[str, object]:
    """All notes in the file of events together; later ones count."""
    found: dict[str, object] = {}
    for line in events.splitlines():
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        facts = message.get(_NOTE) if isinstance(message, dict) else None
        if isinstance(facts, dict):
            found.update(facts)
    return found


def console_start(events: str) -> int:
    """The offset in the console log at which the boot of these events began; 0 if unknown."""
    offset = notes(events).get("console_bytes")
    return offset if isinstance(offset, int) and offset > 0 else 0


def says_halted(console: str) -> bool:
    """Whether the console ends with a kernel's word that it stopped the machine."""
    return _HALTED.search(plain(console)) is not None


def has_run(log: str) -> bool:
    """Whether the guest's vCPUs ever ran in the boot of this log."""
    return _GUEST_ENDED in log or "Artificially kick devices" in log


def exit_reason(events: str, console: str, log: str) -> VMMExit:
    """Why the boot ended; takes any text, however damaged.

    ``console`` is the end of what the guest printed during this boot.
    """
    match notes(events).get("ended"):
        case "stopped":
            return VMMExit(ExitReason.STOPPED)
        case "halted":
            return VMMExit(ExitReason.GUEST_SHUTDOWN)
    if _GUEST_ENDED not in log:
        return VMMExit(ExitReason.VMM_DIED, tail(log))
    if _PANIC in console:
        return VMMExit(ExitReason.GUEST_PANIC, _panic_of(console))
    if POWER_OFF_MARK in console or says_halted(console):
        return VMMExit(ExitReason.GUEST_SHUTDOWN)
    return VMMExit(ExitReason.GUEST_REBOOT)


def tail(log: str) -> str:
    """The last lines of the log that are no routine."""
    lines = [line for line in plain(log).splitlines() if line and not _ROUTINE.search(line)]
    return _shorten(lines[-_DETAIL_LINES:])


def said(log: str) -> str:
    """The last complaint in the log, without its time stamp."""
    lines = tail(log).splitlines()
    return _STAMP.sub("", lines[-1])[:_DETAIL_LENGTH] if lines else ""


def _panic_of(console: str) -> str:
    at = console.rfind(_PANIC)
    start = console.rfind("\n", 0, at) + 1
    return _shorten(plain(console[start:]).splitlines()[:_DETAIL_LINES])


def _shorten(lines: list[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).strip()[:_DETAIL_LENGTH]
