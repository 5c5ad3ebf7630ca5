"""The form of one method of one path in the API description."""

from __future__ import annotations

from msgspec import Struct

from banger.api import routes

#: Any request: refused by its origin, too many connections or host trouble, a defect.
_ALWAYS = (403, 500, 503)
_BODY = (400, 413, 415, 422)


class Parameter(Struct, frozen=True):
    """A query parameter or header; ``schema`` is JSON Schema."""

    name: str
    schema: dict[str, object]
    description: str
    place: str = "query"


class Endpoint(Struct, frozen=True):
    """One method of one path.

    ``answer`` is the body type of success, or empty for one described by ``media_type`` alone.
    ``errors`` are the statuses besides those that any request may get.
    """

    method: str
    path: str
    id: str
    summary: str
    status: int
    answer: type | None = None
    media_type: str = routes.JSON
    body: type | None = None
    body_required: bool = True
    body_type: str = routes.JSON
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()

    @property
    def all_errors(self) -> tuple[int, ...]:
        """Every error status that can come, sorted."""
        found = {*self.errors, *_ALWAYS}
        if self.body is not None:
            found.update(_BODY)
        if self.parameters:
            found.add(400)
        if "{" in self.path:
            found.add(404)
        if self.status == 202:
            found.add(409)
        return tuple(sorted(found))


KEY = Parameter(
    routes.IDEMPOTENCY_KEY,
    {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
    "The same key again gives the same operation instead of a second one.",
    "header",
)
