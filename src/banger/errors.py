"""Every error banger raises on purpose: a stable code, an exit status and three lines of text.

The exit statuses are documented for users by ``banger help exit-codes``.
"""

from __future__ import annotations

from typing import ClassVar


class BangerError(Exception):
    """The root of banger's errors.

    ``brief`` says what failed on which object, ``cause`` why, and ``resolution`` is the next
    command to type. ``details`` may hold many lines (console output, a log's tail).
    """

    code: ClassVar[str] = "failed"
    exit_status: ClassVar[int] = 1

    def __init__(
        self, brief: str, *, cause: str = "", resolution: str = "", details: str = ""
    ) -> None:
        super().__init__(brief)
        self.brief = brief
        self.cause = cause
        self.resolution = resolution
        self.details = details

    def as_dict(self) -> dict[str, str]:
        """The error as JSON-ready text, the form in which it is stored and sent."""
        return {
            "code": self.code,
            "brief": self.brief,
            "cause": self.cause,
            "resolution": self.resolution,
            "details": self.details,
        }


class InternalError(BangerError):
    """A defect of banger itself; the full traceback is in the daemon's log."""

    code = "internal"


class CommandFailed(BangerError):
    """A program that banger started ended with a failure."""

    code = "command_failed"


class VMMFailed(BangerError):
    """The VMM refused, died or answered with an error."""

    code = "vmm_failed"


class Cancelled(BangerError):
    """The operation was cancelled before it ended; what it had made was undone."""

    code = "cancelled"
    exit_status = 130


class InvalidInput(BangerError):
    """A value given by the user is malformed or out of range."""

    code = "invalid_input"
    exit_status = 2


class DaemonUnreachable(BangerError):
    """bangerd does not answer and could not be started."""

    code = "daemon_unreachable"
    exit_status = 3


class DaemonStale(BangerError):
    """bangerd is of another build than the client; the client replaces it."""

    code = "daemon_stale"
    exit_status = 3


class NotFound(BangerError):
    """No object has the given name or id."""

    code = "not_found"
    exit_status = 4


class AlreadyExists(BangerError):
    """The name is taken."""

    code = "already_exists"
    exit_status = 5


class Conflict(BangerError):
    """The object is busy or in a state that does not allow the action."""

    code = "conflict"
    exit_status = 5


class NoAgent(Conflict):
    """The guest has no agent that answers; SSH may still work."""

    code = "no_agent"


class PermissionRefused(BangerError):
    """The user may not do this, or the root side is missing."""

    code = "permission_refused"
    exit_status = 6


class DeadlineExceeded(BangerError):
    """Something did not happen in time."""

    code = "deadline_exceeded"
    exit_status = 7


class HostNotReady(BangerError):
    """The host lacks a program, a kernel feature, memory or disk space."""

    code = "host_not_ready"
    exit_status = 9


class LayerFull(HostNotReady):
    """What a VM may change on its root disk is used up, or nearly."""

    code = "layer_full"


class CorruptState(BangerError):
    """Stored state cannot be read."""

    code = "corrupt_state"
    exit_status = 10


#: Exit status when several targets were given and only some succeeded.
PARTLY_FAILED = 8
#: Exit status of ``exec`` and ``ssh`` when banger, not the guest's command, failed (as docker).
EXEC_FAILED = 125


def families() -> dict[str, type[BangerError]]:
    """All error classes by code, found by walking the subclasses."""
    found: dict[str, type[BangerError]] = {}
    queue: list[type[BangerError]] = [BangerError]
    while queue:
        cls = queue.pop()
        found[cls.code] = cls
        queue.extend(cls.__subclasses__())
    return found


def from_dict(data: dict[str, str]) -> BangerError:
    """Rebuild an error from ``as_dict``; an unknown code becomes a plain ``BangerError``."""
    cls = families().get(data.get("code", ""), BangerError)
    return cls(
        data.get("brief", "unknown error"),
        cause=data.get("cause", ""),
        resolution=data.get("resolution", ""),
        details=data.get("details", ""),
    )
