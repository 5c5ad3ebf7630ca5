"""Handlers of images that are made of what is there, and of what images leave behind."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from banger.api import image_bodies, requests
from banger.daemon.endpoint import Endpoint, answer, read_body, read_key, read_query
from banger.daemon.image_ports import Prunable
from banger.daemon.views import view_prunable
from banger.service.requests import CreateRequest, CustomizeRequest, ImportRequest


class Register(Endpoint):
    """``/v1/images:register``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        key = read_key(request)
        body = await read_body(request, requests.RegisterImage)
        files = CreateRequest(
            rootfs=body.rootfs, kernel=body.kernel, initrd=body.initrd, modules=body.modules
        )
        return self.accepted(await self.services.own_images.register(body.name, files, key))


class Customize(Endpoint):
    """``/v1/images:customize``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        key = read_key(request)
        body = await read_body(request, requests.CustomizeImage)
        asked = CustomizeRequest(
            base=body.base,
            name=body.name,
            size_bytes=body.size_bytes or 0,
            packages=None if body.packages is None else "".join(f"{x}\n" for x in body.packages),
            docker=body.docker,
            kernel=body.kernel,
            initrd=body.initrd,
            modules=body.modules,
        )
        return self.accepted(await self.services.customizing.customize(asked, key))


class Keep(Endpoint):
    """``/v1/images:keep``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        key = read_key(request)
        body = await read_body(request, requests.KeepImage)
        return self.accepted(await self.services.own_images.keep(body.vm, body.name, key))


class Import(Endpoint):
    """``/v1/images:import``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        key = read_key(request)
        body = await read_body(request, requests.ImportImage)
        asked = ImportRequest(
            name=body.name,
            archive=body.archive,
            size_bytes=body.size_bytes,
            kernel=body.kernel,
            initrd=body.initrd,
            modules=body.modules,
        )
        return self.accepted(await self.services.importing.import_image(asked, key))


class Prune(Endpoint):
    """``/v1/images:prune``"""

    async def get(self, request: Request) -> Response:
        read_query(request)
        return _answer(await self.services.pruning.prunable())

    async def post(self, request: Request) -> Response:
        read_query(request)
        await read_body(request, requests.Nothing, required=False)
        return _answer(await self.services.pruning.prune())


def _answer(found: Sequence[Prunable]) -> Response:
    return answer(image_bodies.Prunables(prunable=[view_prunable(each) for each in found]))
