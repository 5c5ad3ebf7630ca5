"""Handlers of operations: list, look, wait, cancel."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from banger.api import codec, requests, routes
from banger.daemon.endpoint import Endpoint, read_body, read_query


class Operations(Endpoint):
    """``/v1/operations``"""

    async def get(self, request: Request) -> Response:
        active = codec.flag(read_query(request, "active"), "active")
        listed = [self.describe(one) for one in self.services.operations.list(active_only=active)]
        return Response(b'{"operations":[' + b",".join(listed) + b"]}", media_type=routes.JSON)


class Operation(Endpoint):
    """``/v1/operations/{id}``"""

    async def get(self, request: Request) -> Response:
        seconds = codec.number(read_query(request, "wait"), "wait", 0, routes.MAX_WAIT)
        operations = self.services.operations
        operation = operations.get(request.path_params["id"])
        if seconds:
            # Also when it has ended by its row: until its files are right its target is busy.
            # Whatever comes first: the end of the operation, of the time, or of the daemon.
            waits = [
                asyncio.ensure_future(operations.wait(operation.id, timeout=seconds)),
                asyncio.ensure_future(self.services.stopping()),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            operation = operations.get(operation.id)
        return Response(self.describe(operation), media_type=routes.JSON)


class Cancel(Endpoint):
    """``/v1/operations/{id}/cancel``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        await read_body(request, requests.Nothing, required=False)
        return self.accepted(await self.services.operations.cancel(request.path_params["id"]))
