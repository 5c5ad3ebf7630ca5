"""The base of all handlers: reads a request strictly and encodes answers."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from banger.api import codec, routes
from banger.api.problems import Refusal, problem, status_of
from banger.daemon.ports import Services
from banger.daemon.views import view_operation
from banger.daemon.vm_list import VMList
from banger.errors import BangerError, InvalidInput
from banger.model.operation import Operation

_T = TypeVar("_T")
#: Where the application leaves the services for its handlers.
SERVICES = "banger.services"
VM_LIST = "banger.vm_list"
#: Seconds in which a request must send its whole body.
BODY_TIMEOUT = 30.0
_KEY = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class Endpoint(HTTPEndpoint):
    """All methods of one path, so that a wrong method gets a complete ``Allow`` header."""

    @property
    def services(self) -> Services:
        services: Services = self.scope[SERVICES]
        return services

    @property
    def vm_list(self) -> VMList:
        vm_list: VMList = self.scope[VM_LIST]
        return vm_list

    async def method_not_allowed(self, request: Request) -> Response:
        allowed = ", ".join(self._allowed_methods)
        raise Refusal(
            405,
            InvalidInput(
                f"{request.method} is not possible on {request.url.path}",
                cause=f"possible here: {allowed}",
                resolution="see /openapi.json",
            ),
            {"Allow": allowed},
        )

    def describe(self, operation: Operation) -> bytes:
        """An operation as it goes out on the wire."""
        return encode_operation(self.services, operation)

    def accepted(self, operation: Operation) -> Response:
        """The answer to a request whose work goes on as ``operation``."""
        headers = {"Location": routes.OPERATION.format(id=operation.id)}
        return Response(self.describe(operation), 202, headers, routes.JSON)


def encode_operation(services: Services, operation: Operation) -> bytes:
    """The JSON of an operation with its steps so far."""
    view = view_operation(
        operation,
        services.operations.steps(operation.id),
        services.operations.titles(operation.kind),
        services.operations.progress(operation.id),
        services.operation_log(operation.id),
    )
    return codec.encode(view)


def answer(body: object) -> Response:
    """A body as JSON."""
    return Response(codec.encode(body), media_type=routes.JSON)


def problem_response(refusal: Refusal | BangerError) -> Response:
    """An error as a problem body."""
    if isinstance(refusal, Refusal):
        status, error, headers = refusal.status, refusal.error, refusal.headers
    else:
        status, error, headers = status_of(refusal), refusal, {}
    body = codec.encode(problem(error, status))
    return Response(body, status, headers, routes.PROBLEM)


async def read_body(request: Request, body_type: type[_T], *, required: bool = True) -> _T:
    """Decode the body; with ``required=False`` nothing stands for every default.

    Raises ``Refusal``.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for piece in request.stream():
                data += piece
                if len(data) > routes.MAX_BODY:
                    raise codec.too_large()
    except TimeoutError:
        late = InvalidInput("the request did not send its body in time", resolution="try again")
        raise Refusal(400, late, {"Connection": "close"}) from None
    if not data and not required:
        return body_type()
    codec.check_media_type(request.headers.get("content-type", ""))
    return codec.decode(bytes(data), body_type)


def read_query(request: Request, *allowed: str) -> dict[str, str]:
    """The query parameters. Raises ``InvalidInput`` for an unknown or a repeated one."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            cause = f"possible: {', '.join(allowed)}" if allowed else "there are none here"
            raise codec.bad_parameter(name, value, cause)
        if name in found:
            raise codec.bad_parameter(name, value, "it is given twice")
        found[name] = value
    return found


def read_key(request: Request) -> str:
    """The idempotency key, empty if there is none. Raises ``InvalidInput``."""
    values = request.headers.getlist(routes.IDEMPOTENCY_KEY)
    if not values:
        return ""
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise codec.bad_parameter(
            routes.IDEMPOTENCY_KEY,
            values[0],
            "it has 1 to 128 of A-Z, a-z, 0-9, '.', '_', '~', '-'",
        )
    return values[0]
