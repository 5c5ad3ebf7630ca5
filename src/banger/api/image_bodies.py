"""What the daemon answers of images."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct


class Image(Struct, frozen=True):
    """An image. ``drift``: the package list has changed since it was built. ``origin``: in words
    how it was made, empty for a build.

    ``docker``: it was built with Docker in it.
    """

    id: str
    name: str
    state: str
    suite: str
    size_bytes: int
    allocated_bytes: int
    rootfs_sha256: str
    kernel_version: str
    packages_sha256: str
    docker: bool
    drift: bool
    origin: str
    used_by: list[str]
    created_at: datetime
    directory: str


class Images(Struct, frozen=True):
    """All images, oldest first."""

    images: list[Image]


class Prunable(Struct, frozen=True):
    """Something of images that nobody uses. ``id`` is empty unless it is an image."""

    kind: Literal["image", "remains", "cache"]
    id: str
    name: str
    path: str
    bytes: int


class Prunables(Struct, frozen=True):
    """What could go, or what has gone."""

    prunable: list[Prunable]
