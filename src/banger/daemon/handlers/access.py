"""Handlers of the ways into a guest that need no stream up: where it is, what it printed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp

from banger.api import codec, routes
from banger.daemon.endpoint import Endpoint, answer, read_query
from banger.daemon.stream import Stream
from banger.daemon.views import view_access

_MAX_LINES = 1_000_000


class Access(Endpoint):
    """``/v1/vms/{ref}/access``"""

    async def get(self, request: Request) -> ASGIApp:
        read_query(request)
        endpoint = await self.services.access.endpoint(request.path_params["ref"])
        return answer(view_access(endpoint))


class Logs(Endpoint):
    """``/v1/vms/{ref}/logs``"""

    async def get(self, request: Request) -> ASGIApp:
        query = read_query(request, "follow", "lines")
        pieces = await self.services.access.logs(
            request.path_params["ref"],
            lines=codec.whole_number(query, "lines", _MAX_LINES),
            follow=codec.flag(query, "follow"),
        )
        return Stream(pieces, routes.TEXT, self.services.stopping)
