"""What the handlers of images need of the services, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from banger.model.image import Image
from banger.model.operation import Operation
from banger.service.requests import (
    BuildRequest,
    CreateRequest,
    CustomizeRequest,
    ImportRequest,
)


class ImageFacts(Protocol):
    """An image and what is observed of it."""

    @property
    def image(self) -> Image: ...
    @property
    def drift(self) -> bool: ...
    @property
    def used_by(self) -> tuple[str, ...]: ...
    @property
    def directory(self) -> str: ...


class Images(Protocol):
    """``service.images``."""

    def list(self) -> Sequence[Image]: ...
    def get(self, reference: str) -> Image: ...
    def describe(self, image: Image) -> ImageFacts: ...
    async def build(self, request: BuildRequest, idempotency_key: str = "") -> Operation: ...
    async def rename(self, reference: str, name: str) -> Operation: ...
    async def delete(self, reference: str) -> Operation: ...


class OwnImages(Protocol):
    """``service.own_images``."""

    async def register(
        self, name: str, files: CreateRequest, idempotency_key: str = ""
    ) -> Operation: ...
    async def keep(self, reference: str, name: str, idempotency_key: str = "") -> Operation: ...


class Importing(Protocol):
    """``service.image_import``."""

    async def import_image(
        self, request: ImportRequest, idempotency_key: str = ""
    ) -> Operation: ...


class Customizing(Protocol):
    """``service.customizing``."""

    async def customize(
        self, request: CustomizeRequest, idempotency_key: str = ""
    ) -> Operation: ...


class Prunable(Protocol):
    """Something that nobody uses."""

    @property
    def kind(self) -> Literal["image", "remains", "cache"]: ...
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def bytes(self) -> int: ...


class Pruning(Protocol):
    """``service.image_prune``."""

    async def prunable(self) -> Sequence[Prunable]: ...
    async def prune(self) -> Sequence[Prunable]: ...
