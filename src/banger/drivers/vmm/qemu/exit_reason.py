"""Tells from the events, the console and the messages of a QEMU that ended why it did (pure)."""

from __future__ import annotations

import json

from banger.drivers.vmm.base import VMMExit
from banger.drivers.vmm.console_log import plain
from banger.model.lifecycle import ExitReason

#: What every Linux prints, whatever its log level, when it gives up.
_PANIC = "Kernel panic - not syncing"
#: Causes of a SHUTDOWN event (QEMU's QAPI type ShutdownCause) that are not the guest's doing.
#: A host-error means that QEMU could not go on, a host-signal that somebody sent SIGTERM.
_HOST_CAUSES = {
    "host-qmp-quit": ExitReason.STOPPED,
    "host-qmp-system-reset": ExitReason.STOPPED,
    "host-ui": ExitReason.STOPPED,
    "host-signal": ExitReason.KILLED,
    "host-error": ExitReason.VMM_DIED,
}
_DETAIL_LINES = 12
_DETAIL_LENGTH = 2000
#: Our own note in the events file: where the console log stood when the boot began.
_NOTE = "banger"


def boot_note(console_bytes: int) -> bytes:
    """The first line of a boot's events file, read back by ``console_start``."""
    return json.dumps({_NOTE: {"console_bytes": console_bytes}}).encode() + b"\n"


def console_start(events: str) -> int:
    """The offset in the console log at which the boot of these events began; 0 if unknown."""
    for message in _messages(events):
        note = message.get(_NOTE)
        if isinstance(note, dict):
            offset = note.get("console_bytes")
            return offset if isinstance(offset, int) and offset > 0 else 0
    return 0


def has_run(events: str) -> bool:
    """Whether the guest's vCPUs ever ran in the boot of these events."""
    return any(message.get("event") == "RESUME" for message in _messages(events))


def exit_reason(events: str, console: str, log: str) -> VMMExit:
    """Why the boot ended; takes any text, however damaged.

    ``events`` are QMP messages, one JSON object a line; ``console`` is the end of what the
    guest printed during this boot, ``log`` what QEMU itself did.
    """
    cause, guest = "", False
    for message in _messages(events):
        data = message.get("data")
        match message.get("event"):
            case "SHUTDOWN" if isinstance(data, dict):
                cause, guest = str(data.get("reason", "")), data.get("guest") is True
            case "GUEST_PANICKED":
                return VMMExit(ExitReason.GUEST_PANIC, _panic_of(console))
    if cause == "guest-panic" or (cause == "guest-reset" and _PANIC in console):
        return VMMExit(ExitReason.GUEST_PANIC, _panic_of(console))
    if cause == "guest-reset":
        return VMMExit(ExitReason.GUEST_REBOOT)
    if cause == "guest-shutdown" or guest:
        return VMMExit(ExitReason.GUEST_SHUTDOWN)
    reason = _HOST_CAUSES.get(cause, ExitReason.VMM_DIED)
    return VMMExit(reason, _tail(log) if reason is ExitReason.VMM_DIED else "")


def said_by_qemu(log: str) -> str:
    """The last complaint in QEMU's messages, without time stamp and program name."""
    lines = [line.strip() for line in plain(log).splitlines() if line.strip()]
    # An error of two lines ends with a question ("Is another process using the image?").
    start = next(
        (line for line in reversed(lines) if ": " in line and "warning: " not in line),
        lines[-1] if lines else "",
    )
    head, found, rest = start.partition("qemu-system-")
    message = rest.partition(": ")[2] if found and len(head) < 40 else start
    return message[:_DETAIL_LENGTH]


def _messages(events: str) -> list[dict[str, object]]:
    found = []
    for line in events.splitlines():
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            found.append(message)
    return found


def _panic_of(console: str) -> str:
    at = console.rfind(_PANIC)
    if at < 0:
        return _tail(console)
    start = console.rfind("\n", 0, at) + 1
    return _shorten(plain(console[start:]).splitlines()[:_DETAIL_LINES])


def _tail(text: str) -> str:
    return _shorten(plain(text).splitlines()[-_DETAIL_LINES:])


def _shorten(lines: list[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).strip()[:_DETAIL_LENGTH]
