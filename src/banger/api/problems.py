"""One table: error class <-> HTTP status; and the refusals that only HTTP knows."""

from __future__ import annotations

from http import HTTPStatus

from banger.errors import (
    AlreadyExists,
    BangerError,
    Conflict,
    DaemonStale,
    DeadlineExceeded,
    HostNotReady,
    InvalidInput,
    NotFound,
    PermissionRefused,
)

#: Subclasses inherit the status of the nearest class above them; all others mean 500.
STATUS: dict[type[BangerError], int] = {
    InvalidInput: 400,
    PermissionRefused: 403,
    NotFound: 404,
    AlreadyExists: 409,
    Conflict: 409,
    DaemonStale: 412,
    HostNotReady: 503,
    DeadlineExceeded: 504,
}


class Refusal(Exception):
    """An error whose HTTP status is not that of its class, perhaps with extra headers."""

    def __init__(
        self, status: int, error: BangerError, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(error.brief)
        self.status = status
        self.error = error
        self.headers = headers or {}


def status_of(error: BangerError) -> int:
    """The HTTP status of an error."""
    for cls in type(error).__mro__:
        status = STATUS.get(cls)
        if status is not None:
            return status
    return 500


def problem(error: BangerError, status: int | None = None) -> dict[str, object]:
    """The body of an error answer (RFC 9457), ready to encode."""
    status = status or status_of(error)
    body: dict[str, object] = {
        "type": f"urn:banger:problem:{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.brief,
        **error.as_dict(),
    }
    operation_id = getattr(error, "operation_id", "")
    if operation_id:
        body["operation_id"] = operation_id
    return body
