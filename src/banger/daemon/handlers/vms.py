"""Handlers of VMs: list, create, show, rename, delete."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from banger.api import codec, requests, routes
from banger.daemon.endpoint import Endpoint, answer, read_body, read_key, read_query
from banger.daemon.views import view_vm
from banger.daemon.vm_list import FIELDS
from banger.model.network import Forward
from banger.service.requests import CreateRequest


class VMs(Endpoint):
    """``/v1/vms``"""

    async def get(self, request: Request) -> Response:
        text = read_query(request, "fields").get("fields")
        fields = FIELDS if text is None else frozenset(text.split(","))
        if unknown := fields - FIELDS:
            raise codec.bad_parameter("fields", text or "", f"no such field: {min(unknown)!r}")
        return Response(self.vm_list.encode(fields), media_type=routes.JSON)

    async def post(self, request: Request) -> Response:
        read_query(request)
        key = read_key(request)
        body = await read_body(request, requests.CreateVM)
        asked = CreateRequest(
            name=body.name,
            image=body.image,
            vcpus=body.vcpus,
            memory_mib=body.memory_mib,
            overlay_bytes=body.overlay_bytes,
            work_disk_bytes=body.work_disk_bytes,
            rootfs=body.rootfs,
            kernel=body.kernel,
            initrd=body.initrd,
            modules=body.modules,
            vmm=body.vmm,
            storage=body.storage,
            network=body.network,
            profile=body.profile,
            nat=body.nat,
            isolated=body.isolated,
            host_access=body.host_access,
            jail=body.jail,
            restart=body.restart,
            forwards=tuple(
                Forward(each.protocol, each.host_port, each.guest_port) for each in body.forwards
            ),
        )
        return self.accepted(await self.services.vms.create(asked, key))


class VM(Endpoint):
    """``/v1/vms/{ref}``"""

    async def get(self, request: Request) -> Response:
        read_query(request)
        vms = self.services.vms
        facts = vms.describe(vms.get(request.path_params["ref"]))
        return answer(view_vm(facts, time.time()))

    async def patch(self, request: Request) -> Response:
        read_query(request)
        body = await read_body(request, requests.RenameVM)
        return self.accepted(await self.services.vms.rename(request.path_params["ref"], body.name))

    async def delete(self, request: Request) -> Response:
        force = codec.flag(read_query(request, "force"), "force")
        return self.accepted(
            await self.services.vms.delete(request.path_params["ref"], force=force)
        )
