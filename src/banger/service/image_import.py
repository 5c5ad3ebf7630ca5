"""Makes images of archives: of OCI and Docker images, root trees, and banger's own exports."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from banger.errors import InvalidInput, NotFound
from banger.model.image import DEFAULT_IMAGE, ImageState
from banger.model.operation import Operation
from banger.service import image_admission, own_files, room
from banger.service.context import Context
from banger.service.images import check_image_size
from banger.service.operations import OperationService
from banger.service.requests import CreateRequest, ImportRequest


class ImageImportService:
    """The use case of importing."""

    def __init__(self, context: Context, operations: OperationService) -> None:
        self._context = context
        self._operations = operations

    async def import_image(self, request: ImportRequest, idempotency_key: str = "") -> Operation:
        """Admit ``image.import``. What is in the archive is seen by the operation itself.

        Raises ``NotFound`` when the default image is missing, whose kernel it is to boot,
        ``InvalidInput`` for a file that cannot be used, ``AlreadyExists`` for a name taken.
        """
        known = self._operations.known(idempotency_key)
        if known is not None:
            return known
        image_admission.require_free(self._context, request.name)
        check_image_size(request.size_bytes, "import")
        archive = Path(request.archive)
        if not archive.is_absolute() or not (archive.is_file() or archive.is_dir()):
            raise InvalidInput(
                f"{request.archive!r:.200} cannot be imported",
                cause="it is not the absolute path of a file or folder",
                resolution="banger image import FILE",
            )
        own = CreateRequest(kernel=request.kernel, initrd=request.initrd, modules=request.modules)
        if request.initrd and not request.kernel:
            raise InvalidInput(
                f"the initrd {request.initrd!r:.200} cannot be used",
                cause="no kernel of your own was given that it could belong to",
                resolution="banger image import FILE --kernel FILE --initrd FILE",
            )
        own_files.check(own, self._context.drivers.guest)
        room.check_floor(self._context)
        arguments: dict[str, object] = {
            "archive": str(archive),
            "size_bytes": request.size_bytes,
            **self._boot(request, archive),
        }
        row = image_admission.new_row(request.name)
        image = dataclasses.replace(row, own_boot=bool(request.kernel))
        return image_admission.admit_new(
            self._context,
            self._operations,
            "image.import",
            image,
            arguments,
            idempotency_key=idempotency_key,
        )

    def _boot(self, request: ImportRequest, archive: Path) -> dict[str, str]:
        if self._context.drivers.importer.brings_kernel(archive):
            if request.kernel:
                raise InvalidInput(
                    f"{archive} brings its own kernel",
                    cause="it is an image that banger has exported",
                    resolution=f"banger image import {archive}",
                )
            return {"base": "", "kernel": "", "initrd": "", "modules": "", "version": ""}
        base = self._context.images.by_name(DEFAULT_IMAGE)
        if base is None or base.state is not ImageState.READY or base.own_boot:
            raise NotFound(
                f"there is no image {DEFAULT_IMAGE!r}",
                cause="an imported image gets its kernel and the Python of banger's agent from it",
                resolution=f"banger image build {DEFAULT_IMAGE}",
            )
        folder = self._context.paths.image(base.id)
        if request.kernel:
            boot = {"kernel": request.kernel, "initrd": request.initrd}
            return {**boot, "base": str(folder), "modules": request.modules, "version": ""}
        return {
            "base": str(folder),
            "kernel": str(folder / "vmlinux"),
            "initrd": str(folder / "initrd.cpio"),
            "modules": "",
            "version": base.kernel_version,
        }
