"""Customises images: finds out what a base has and what is wanted of it, and admits the work."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import msgspec
from msgspec import Struct

from banger.errors import InvalidInput
from banger.model.image import DEFAULT_IMAGE, Customization, Image
from banger.model.operation import Operation
from banger.model.vm import GIB
from banger.naming import NAME_PATTERN
from banger.service import image_admission, own_files, package_list, room
from banger.service.boot_files import own_boot_of
from banger.service.context import Context
from banger.service.images import MIN_IMAGE_BYTES, ImageService, check_image_size
from banger.service.operations import OperationService
from banger.service.requests import CreateRequest, CustomizeRequest

#: Before the name of the base, in the name of the image that is made of it.
_PREFIX = "docker-"
#: What a file system has at least that packages are put into: it occupies what is in it alone.
_ROOMY = 8 * GIB


class _Base(Struct, frozen=True):
    """What a base has. ``image`` is the one whose kernel it boots, ``is_file`` if not its own."""

    shown: str
    rootfs: Path
    size_bytes: int
    image: Image | None
    is_file: bool


class CustomizeService:
    """The use case of ``image customize``."""

    def __init__(
        self, context: Context, images: ImageService, operations: OperationService
    ) -> None:
        self._context = context
        self._images = images
        self._operations = operations

    async def customize(self, request: CustomizeRequest, idempotency_key: str = "") -> Operation:
        """Admit ``image.customize``. The base stays as it is.

        Raises ``InvalidInput`` for files that cannot be used and for sizes, ``NotFound`` for an
        unknown base, ``AlreadyExists`` for a name that is taken.
        """
        repeated = self._operations.known(idempotency_key)
        if repeated is not None:
            return repeated
        base = self._base_of(request)
        name = request.name or default_name(base.shown)
        image_admission.require_free(self._context, name)
        wanted = self._wanted(name, base, request)
        self._check_files(base, request)
        room.check_floor(self._context)
        given = None if base.is_file else base.image
        row = dataclasses.replace(
            image_admission.new_row(name, suite=wanted.suite),
            docker=wanted.docker or bool(given and given.docker),
            own_boot=not self._reads_identity(wanted),
            origin=f"customised from {base.shown}",
            carries_agent=bool(given and given.carries_agent),
            container=given.container if given else {},
        )
        return image_admission.admit_new(
            self._context,
            self._operations,
            "image.customize",
            row,
            {
                "wanted": msgspec.to_builtins(wanted),
                "images": [base.image.id] if base.image else [],
            },
            idempotency_key=idempotency_key,
        )

    def _base_of(self, request: CustomizeRequest) -> _Base:
        if not request.base.startswith("/"):
            image = self._images.ready(request.base)
            rootfs = self._context.paths.image(image.id) / "rootfs.ext4"
            return _Base(image.name, rootfs, image.size_bytes, image, is_file=False)
        own_files.check(CreateRequest(rootfs=request.base), self._context.drivers.guest)
        path = Path(request.base)
        lender = None if request.kernel else self._images.ready(DEFAULT_IMAGE)
        return _Base(request.base, path, path.stat().st_size, lender, is_file=True)

    def _wanted(self, name: str, base: _Base, request: CustomizeRequest) -> Customization:
        kernel, initrd, modules = request.kernel, request.initrd, request.modules
        ours, modules_of = False, ""
        if base.image is not None:
            folder = self._context.paths.image(base.image.id)
            own = own_boot_of(self._context.paths, base.image)
            if not kernel:
                kernel = str(folder / "vmlinux")
                if not modules:
                    modules = own.modules
                    if base.is_file and not modules:
                        modules_of = str(folder / "rootfs.ext4")
                if not (initrd or request.modules):
                    there = folder / "initrd.cpio"
                    initrd = str(there) if there.exists() else ""
        if not initrd:
            # A kernel that an image boots without any goes on to do so.
            ours = bool(request.kernel or request.modules)
        adds = request.docker or request.packages is not None
        size = request.size_bytes or max(base.size_bytes, _ROOMY if adds else MIN_IMAGE_BYTES)
        size = -(-size // 4096) * 4096
        check_image_size(size, "customize BASE")
        return Customization(
            name=name,
            rootfs=str(base.rootfs),
            size_bytes=size,
            kernel=kernel,
            initrd=initrd,
            ours=ours,
            modules=modules,
            modules_of=modules_of,
            suite="" if base.is_file or base.image is None else base.image.suite,
            packages=() if request.packages is None else package_list.parse(request.packages),
            docker=request.docker,
        )

    def _check_files(self, base: _Base, request: CustomizeRequest) -> None:
        """Those that the user names; and whether anything is asked for at all."""
        guest = self._context.drivers.guest
        own_files.check(CreateRequest(kernel=request.kernel, initrd=request.initrd), guest)
        if request.modules:
            guest.check_modules(Path(request.modules))
        asked = (request.size_bytes, request.packages, request.docker, request.kernel,
                   request.initrd, request.modules)  # fmt: skip
        if not base.is_file and not any(asked) and not request.name:
            raise InvalidInput(
                f"nothing is to be customised of {base.shown}",
                cause="no package, kernel, size or name is given",
                resolution=f"banger image customize {base.shown} --docker",
            )

    def _reads_identity(self, wanted: Customization) -> bool:
        """Whether its VMs learn who they are from its initrd."""
        if not wanted.initrd:
            return wanted.ours
        return self._context.drivers.guest.reads_identity(Path(wanted.initrd))


def default_name(base: str) -> str:
    """What an image made of an image, or of a file, is called. Raises ``InvalidInput``."""
    stem = Path(base).name.partition(".")[0].lower() if base.startswith("/") else base
    name = _PREFIX + stem
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidInput(
            f"the image made of {base!r:.200} needs a name",
            cause=f"{name!r:.100} cannot be one",
            resolution="give it one: --out NAME",
        )
    return name
