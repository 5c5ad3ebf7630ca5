"""Builds, lists, describes and deletes images; knows who uses which."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from banger.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from banger.model.image import DOCKER_IMAGE, Image, ImageSpec, ImageState
from banger.model.operation import Operation
from banger.model.vm import GIB, MAX_DISK_BYTES
from banger.naming import check_name
from banger.service import image_admission, package_list, references
from banger.service.context import Context
from banger.service.operations import OperationService, Target
from banger.service.requests import BuildRequest

MIN_IMAGE_BYTES = 1 * GIB


class ImageFacts(Struct, frozen=True):
    """An image with what is observed of it. ``drift``: the package list changed since.

    An image of a list of its own does not drift: nobody knows where that list is now.
    """

    image: Image
    drift: bool
    used_by: tuple[str, ...]
    directory: str


class ImageService:
    """Use cases on images."""

    def __init__(self, context: Context, operations: OperationService) -> None:
        self._context = context
        self._operations = operations

    def list(self) -> Sequence[Image]:
        return self._context.images.all()

    def get(self, reference: str) -> Image:
        """By name, id or unique id prefix. Raises ``NotFound`` or ``InvalidInput``."""
        images = self._context.images
        return references.find(
            "image",
            reference,
            by_name=images.by_name,
            by_id_prefix=images.by_id_prefix,
            names=lambda: [image.name for image in images.all()],
        )

    def ready(self, reference: str) -> Image:
        """The image if a VM can be made from it. Raises ``NotFound`` or ``Conflict``."""
        try:
            image = self.get(reference)
        except NotFound as error:
            raise NotFound(
                error.brief, cause=error.cause, resolution=f"banger image build {reference:.64}"
            ) from None
        if image.state is not ImageState.READY:
            raise Conflict(
                f"the image {image.name} cannot be used",
                cause=f"it is {image.state.value}",
                resolution="banger operation list",
            )
        return image

    def describe(self, image: Image) -> ImageFacts:
        users = tuple(vm.name for vm in self._context.vms.by_image(image.id))
        text = package_list.read(self._context.paths)
        follows = bool(image.packages_sha256) and not image.own_list
        drift = follows and image.packages_sha256 != sha256(text)
        return ImageFacts(image, drift, users, str(self._context.paths.image(image.id)))

    async def build(self, request: BuildRequest, idempotency_key: str = "") -> Operation:
        """Admit ``image.build``. An existing image is refused without ``rebuild``."""
        repeated = self._operations.known(idempotency_key)
        if repeated is not None:
            return repeated
        check_name(request.name, "image")
        check_image_size(request.size_bytes, "build")
        known = self._context.images.by_name(request.name)
        if known is not None and not request.rebuild:
            self._refuse_existing(known)
        text = request.packages
        if text is None:
            if known is not None and known.own_list:
                raise _needs_its_list(known)
            text = package_list.read(self._context.paths)
        packages = package_list.parse(text)
        docker = request.docker
        if docker is None:
            docker = known.docker if known else request.name == DOCKER_IMAGE
        spec = ImageSpec(
            name=request.name,
            suite=request.suite,
            packages=packages,
            packages_sha256=sha256(text),
            size_bytes=request.size_bytes,
            docker=docker,
        )
        image = image_admission.new_row(
            spec.name, suite=spec.suite, packages_sha256=spec.packages_sha256
        )
        image = dataclasses.replace(
            image,
            size_bytes=spec.size_bytes,
            docker=docker,
            own_list=request.packages is not None,
        )
        return image_admission.admit_new(
            self._context,
            self._operations,
            "image.build",
            image,
            {"spec": msgspec.to_builtins(spec)},
            idempotency_key=idempotency_key,
        )

    async def rename(self, reference: str, name: str) -> Operation:
        """Admit ``image.rename``, also of an image in use: its VMs know it by its id."""
        image = self.ready(reference)
        image_admission.require_free(self._context, name)
        return image_admission.admit_rename(self._context, self._operations, image, name)

    async def delete(self, reference: str) -> Operation:
        """Admit ``image.delete``. Raises ``Conflict`` naming the VMs that use it."""
        image = self.get(reference)
        users = [vm.name for vm in self._context.vms.by_image(image.id)]
        if users:
            raise Conflict(
                f"cannot delete the image {image.name}",
                cause=f"it is used by {', '.join(users[:8])}{' …' if users[8:] else ''}",
                resolution=f"banger rm {' '.join(users[:8])}",
            )

        def reserve(_operation: Operation) -> None:
            self._context.images.put(dataclasses.replace(image, state=ImageState.DELETING))

        return self._operations.admit(
            "image.delete", Target("image", image.id, image.name), {}, reserve=reserve
        )

    def _refuse_existing(self, known: Image) -> None:
        drift = self.describe(known).drift
        raise AlreadyExists(
            f"the image {known.name} exists already",
            cause="the package list has changed since it was built" if drift else "it is ready",
            resolution=f"banger image build {known.name} --rebuild{_list_option(known)}",
        )


def _needs_its_list(known: Image) -> Conflict:
    return Conflict(
        f"the image {known.name} cannot be built again without its package list",
        cause="it was built from a list of its own, of which only the digest is known",
        resolution=f"banger image build {known.name} --rebuild{_list_option(known)}",
    )


def _list_option(known: Image) -> str:
    return " --packages FILE" if known.own_list else ""


def check_image_size(size_bytes: int, verb: str) -> None:
    """Raises ``InvalidInput`` for a root file system that no image can have."""
    if not MIN_IMAGE_BYTES <= size_bytes <= MAX_DISK_BYTES:
        raise InvalidInput(
            f"the image size {size_bytes} bytes is out of range",
            cause=f"it must lie between {MIN_IMAGE_BYTES} and {MAX_DISK_BYTES}",
            resolution=f"banger image {verb} --size 8G",
        )


def sha256(text: str) -> str:
    """Digest of a package list's text."""
    return hashlib.sha256(text.encode()).hexdigest()
