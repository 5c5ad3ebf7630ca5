"""What images, remains of images and caches could go, and removes the last two."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

from banger.host import files
from banger.host.threads import in_thread
from banger.model.image import DEFAULT_IMAGE, DOCKER_IMAGE, ImageState
from banger.service import record
from banger.service.context import Context
from banger.service.operations import OperationService


class Prunable(Struct, frozen=True):
    """Something that nobody uses.

    ``kind`` is ``image`` (``id`` and ``name`` are its own), ``remains`` or ``cache``; ``bytes``
    is what it occupies on the host.
    """

    kind: Literal["image", "remains", "cache"]
    id: str
    name: str
    path: str
    bytes: int


class ImagePruneService:
    """Use cases on what images leave behind."""

    def __init__(self, context: Context, operations: OperationService) -> None:
        self._context = context
        self._operations = operations

    async def prunable(self) -> list[Prunable]:
        """Images that no VM uses and no default means, remains of images, the package cache.

        An image that something is being done with is not among them, nor is a cache while any
        image is being made.
        """
        found = list(self._images())
        others = list(self._others())
        return await in_thread(lambda _: [*map(_measured, found), *map(_measured, others)])

    async def prune(self) -> list[Prunable]:
        """Remove the remains and the caches; returns what has gone. No image is touched."""
        return [await in_thread(functools.partial(_remove, each)) for each in self._others()]

    def _images(self) -> Iterator[Prunable]:
        context = self._context
        spared = {DEFAULT_IMAGE, DOCKER_IMAGE, context.settings.image}
        for image in context.images.all():
            if image.state is ImageState.BUILDING or self._operations.busy_with(image.id):
                continue
            wanted = image.state is ImageState.READY and image.name in spared
            if not wanted and not context.vms.by_image(image.id):
                path = str(context.paths.image(image.id))
                yield Prunable("image", image.id, image.name, path, 0)

    def _others(self) -> Iterator[Prunable]:
        context, paths = self._context, self._context.paths
        active = [each for each in self._operations.list(active_only=True)
                  if each.target_kind == "image"]  # fmt: skip
        known = {image.id for image in context.images.all()} | {each.target_id for each in active}
        for folder in (paths.images, paths.scratch):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                # What can be read as an image is taken back by the next start of the daemon.
                lost = record.read_image(path / "image.json")
                if path.name not in known and lost is None:
                    yield Prunable("remains", "", path.name, str(path), 0)
        if not active and paths.debs.is_dir() and any(paths.debs.iterdir()):
            yield Prunable("cache", "", "downloaded packages", str(paths.debs), 0)


def _remove(each: Prunable, _stopped: Callable[[], bool]) -> Prunable:
    measured = _measured(each)
    files.remove_tree(Path(each.path))
    return measured


def _measured(each: Prunable) -> Prunable:
    path = Path(each.path)
    used = files.allocated_bytes(path)
    if path.is_dir() and not path.is_symlink():
        used += sum(files.allocated_bytes(inside) for inside in path.rglob("*"))
    return Prunable(each.kind, each.id, each.name, each.path, used)
