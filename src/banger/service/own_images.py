"""Makes images of what is there: a user's own files, or a stopped VM."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from banger.errors import InvalidInput
from banger.model.image import Image
from banger.model.lifecycle import Action
from banger.model.operation import Operation
from banger.model.vm import VM
from banger.service import image_admission, own_files, room
from banger.service.boot_files import initrd_of, kernel_of
from banger.service.context import Context
from banger.service.operations import OperationService
from banger.service.requests import CreateRequest
from banger.service.vms import VMService


class OwnImageService:
    """Use cases that end in an image which no package archive knows."""

    def __init__(self, context: Context, vms: VMService, operations: OperationService) -> None:
        self._context = context
        self._vms = vms
        self._operations = operations

    async def register(
        self, name: str, files: CreateRequest, idempotency_key: str = ""
    ) -> Operation:
        """Admit ``image.register`` of the ``rootfs``, ``kernel``, ``initrd`` and ``modules``.

        They are checked as those of a VM are, and copied. Raises ``InvalidInput`` for one that
        cannot be used, ``AlreadyExists`` for a name that is taken.
        """
        known = self._operations.known(idempotency_key)
        if known is not None:
            return known
        image_admission.require_free(self._context, name)
        for what, path in (("root file system", files.rootfs), ("kernel", files.kernel)):
            if not path:
                raise InvalidInput(
                    f"the image {name} lacks its {what}",
                    cause="an image is a root file system and the kernel that boots it",
                    resolution=f"banger image register {name} --rootfs FILE --kernel FILE",
                )
        own_files.check(files, self._context.drivers.guest)
        room.check_floor(self._context)
        image = dataclasses.replace(
            image_admission.new_row(name), own_boot=True, origin=f"registered from {files.rootfs}"
        )
        arguments: dict[str, object] = {
            "rootfs": files.rootfs,
            "kernel": files.kernel,
            "initrd": files.initrd,
            "modules": files.modules,
        }
        return self._admit("image.register", image, arguments, idempotency_key)

    async def keep(self, reference: str, name: str, idempotency_key: str = "") -> Operation:
        """Admit ``image.keep``: the stopped VM's root file system becomes the image ``name``."""
        known = self._operations.known(idempotency_key)
        if known is not None:
            return known
        vm = self._vms.get(reference)
        if self._operations.busy_with(vm.id) is None:
            self._vms.require(vm, Action.KEEP)
        image_admission.require_free(self._context, name)
        room.check_floor(self._context)
        base = self._context.images.get(vm.spec.image_id) if vm.spec.image_id else None
        image = self._row_of(name, vm, base)
        own = image.own_boot
        initrd = initrd_of(self._context.paths, vm.spec)
        arguments: dict[str, object] = {
            "vm": vm.id,
            "kernel": str(kernel_of(self._context.paths, vm.spec)),
            "initrd": str(initrd or ""),
            "modules": vm.spec.modules if own else "",
        }
        return self._admit("image.keep", image, arguments, idempotency_key)

    def _row_of(self, name: str, vm: VM, base: Image | None) -> Image:
        row = image_admission.new_row(name, suite=base.suite if base else "")
        source = vm.spec.image_name or Path(vm.spec.rootfs).name
        return dataclasses.replace(
            row,
            own_boot=bool(vm.spec.kernel),
            docker=base.docker if base else False,
            carries_agent=base.carries_agent if base and not vm.spec.rootfs else False,
            container=base.container if base and not vm.spec.rootfs else {},
            origin=f"kept from a VM of {source}",
        )

    def _admit(
        self, kind: str, image: Image, arguments: dict[str, object], idempotency_key: str
    ) -> Operation:
        return image_admission.admit_new(
            self._context,
            self._operations,
            kind,
            image,
            arguments,
            idempotency_key=idempotency_key,
        )
