"""Handlers of images."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from banger.api import image_bodies, requests
from banger.daemon.endpoint import Endpoint, answer, read_body, read_key, read_query
from banger.daemon.views import view_image
from banger.service.requests import BuildRequest


class Images(Endpoint):
    """``/v1/images``"""

    async def get(self, request: Request) -> Response:
        read_query(request)
        images = self.services.images
        return answer(
            image_bodies.Images(
                images=[view_image(images.describe(image)) for image in images.list()]
            )
        )

    async def post(self, request: Request) -> Response:
        read_query(request)
        key = read_key(request)
        body = await read_body(request, requests.BuildImage)
        packages = None if body.packages is None else "".join(f"{x}\n" for x in body.packages)
        asked = BuildRequest(
            name=body.name,
            suite=body.suite,
            packages=packages,
            size_bytes=body.size_bytes,
            docker=body.docker,
            rebuild=body.rebuild,
        )
        return self.accepted(await self.services.images.build(asked, key))


class Image(Endpoint):
    """``/v1/images/{ref}``"""

    async def get(self, request: Request) -> Response:
        read_query(request)
        images = self.services.images
        return answer(view_image(images.describe(images.get(request.path_params["ref"]))))

    async def patch(self, request: Request) -> Response:
        read_query(request)
        body = await read_body(request, requests.RenameImage)
        ref = request.path_params["ref"]
        return self.accepted(await self.services.images.rename(ref, body.name))

    async def delete(self, request: Request) -> Response:
        read_query(request)
        return self.accepted(await self.services.images.delete(request.path_params["ref"]))
