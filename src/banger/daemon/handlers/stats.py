"""Handlers of what running VMs use."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from banger.api import bodies
from banger.daemon.endpoint import Endpoint, answer, read_query
from banger.daemon.views import view_stats


class VMStats(Endpoint):
    """``/v1/vms/{ref}/stats``"""

    async def get(self, request: Request) -> Response:
        read_query(request)
        return answer(view_stats(await self.services.stats.of(request.path_params["ref"])))


class Stats(Endpoint):
    """``/v1/stats``"""

    async def get(self, request: Request) -> Response:
        read_query(request)
        found = await self.services.stats.all()
        return answer(bodies.AllStats(stats=[view_stats(one) for one in found]))
