"""Handlers of what a VM reaches, and of what reaches it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from banger.api import requests
from banger.daemon.endpoint import Endpoint, read_body, read_query
from banger.model.network import Forward


class Nat(Endpoint):
    """``/v1/vms/{ref}/nat``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        body = await read_body(request, requests.SetNat)
        ref = request.path_params["ref"]
        return self.accepted(await self.services.connectivity.nat(ref, up=body.up))


class Forwards(Endpoint):
    """``/v1/vms/{ref}/forward``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        body = await read_body(request, requests.PublishPort)
        ref = request.path_params["ref"]
        forward = Forward(body.protocol, body.host_port, body.guest_port)
        change = self.services.connectivity.withdraw if body.remove else None
        change = change or self.services.connectivity.publish
        return self.accepted(await change(ref, forward))
