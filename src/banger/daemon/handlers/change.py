"""Handlers of what VMs are made of: sizes, copies, new root file systems."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from banger.api import requests
from banger.daemon.endpoint import Endpoint, read_body, read_query
from banger.service.requests import SetRequest


class Set(Endpoint):
    """``/v1/vms/{ref}/set``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        body = await read_body(request, requests.SetVM)
        asked = SetRequest(
            vcpus=body.vcpus,
            memory_mib=body.memory_mib,
            overlay_bytes=body.overlay_bytes,
            work_disk_bytes=body.work_disk_bytes,
            restart=body.restart,
        )
        return self.accepted(await self.services.change.set(request.path_params["ref"], asked))


class Clone(Endpoint):
    """``/v1/vms/{ref}/clone``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        body = await read_body(request, requests.CloneVM)
        ref = request.path_params["ref"]
        return self.accepted(await self.services.change.clone(ref, body.name))


class Rebuild(Endpoint):
    """``/v1/vms/{ref}/rebuild``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        body = await read_body(request, requests.RebuildVM, required=False)
        ref = request.path_params["ref"]
        return self.accepted(await self.services.change.rebuild(ref, body.image))
