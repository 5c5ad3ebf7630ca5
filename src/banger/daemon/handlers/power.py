"""Handlers of what changes whether a VM runs."""

from __future__ import annotations

from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from banger.api import requests
from banger.daemon.endpoint import Endpoint, read_body, read_query

_T = TypeVar("_T")


class Start(Endpoint):
    """``/v1/vms/{ref}/start``"""

    async def post(self, request: Request) -> Response:
        body = await _action(request, requests.StartVM)
        power, ref = self.services.power, request.path_params["ref"]
        return self.accepted(await power.start(ref, wait=body.wait, timeout=body.timeout))


class Stop(Endpoint):
    """``/v1/vms/{ref}/stop``"""

    async def post(self, request: Request) -> Response:
        body = await _action(request, requests.StopVM)
        power, ref = self.services.power, request.path_params["ref"]
        return self.accepted(await power.stop(ref, timeout=body.timeout))


class Kill(Endpoint):
    """``/v1/vms/{ref}/kill``"""

    async def post(self, request: Request) -> Response:
        await _action(request, requests.Nothing)
        return self.accepted(await self.services.power.kill(request.path_params["ref"]))


class Restart(Endpoint):
    """``/v1/vms/{ref}/restart``"""

    async def post(self, request: Request) -> Response:
        body = await _action(request, requests.StartVM)
        power, ref = self.services.power, request.path_params["ref"]
        return self.accepted(await power.restart(ref, wait=body.wait, timeout=body.timeout))


class Pause(Endpoint):
    """``/v1/vms/{ref}/pause``"""

    async def post(self, request: Request) -> Response:
        await _action(request, requests.Nothing)
        return self.accepted(await self.services.power.pause(request.path_params["ref"]))


class Resume(Endpoint):
    """``/v1/vms/{ref}/resume``"""

    async def post(self, request: Request) -> Response:
        await _action(request, requests.Nothing)
        return self.accepted(await self.services.power.resume(request.path_params["ref"]))


async def _action(request: Request, body_type: type[_T]) -> _T:
    """The body of an action; all its fields have defaults."""
    read_query(request)
    return await read_body(request, body_type, required=False)
