"""Admits operations that make or name images: one name, one maker at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping

from banger.errors import AlreadyExists, Conflict
from banger.model.image import Image, ImageState
from banger.model.operation import Operation
from banger.naming import check_name, new_id
from banger.service.context import Context
from banger.service.new_image import NAME
from banger.service.operations import OperationService, Target
from banger.store.resources import Taken


def new_row(name: str, *, suite: str = "", packages_sha256: str = "") -> Image:
    """The row of an image that is to be made as ``name``, with nothing known of its files.

    Until it is ready it carries a name that nobody can ask for.
    """
    image_id = new_id()
    return Image(
        id=image_id,
        name=f"{name}@{image_id}",
        state=ImageState.BUILDING,
        suite=suite,
        packages_sha256=packages_sha256,
        size_bytes=0,
        allocated_bytes=0,
        rootfs_sha256="",
        kernel_version="",
        created_at=time.time(),
    )


def require_free(context: Context, name: str) -> None:
    """Raises ``InvalidInput`` for what cannot be a name, ``AlreadyExists`` for one taken."""
    check_name(name, "image")
    known = context.images.by_name(name)
    if known is not None:
        raise AlreadyExists(
            f"the image {name} exists already",
            cause=f"it is {known.state.value}",
            resolution=f"choose another name, or banger image rename {name} NEW",
        )
    holder = context.resources.holder(NAME, name)
    if holder:
        raise _being_made(name, holder)


def admit_new(
    context: Context,
    operations: OperationService,
    kind: str,
    image: Image,
    arguments: Mapping[str, object],
    *,
    idempotency_key: str = "",
) -> Operation:
    """Admit an operation that makes ``image``, a ``new_row``; its plan is a ``NewImagePlan``.

    Raises ``Conflict`` when an image of the name is being made already.
    """
    name = image.name.partition("@")[0]

    def reserve(operation: Operation) -> None:
        _reserve(context, image, name, operation)
        context.images.put(image)

    return operations.admit(
        kind,
        Target("image", image.id, name),
        {"name": name, **arguments},
        reserve=reserve,
        idempotency_key=idempotency_key,
    )


def admit_rename(
    context: Context, operations: OperationService, image: Image, name: str
) -> Operation:
    """Admit ``image.rename``. Raises ``Conflict`` when an image of the name is being made."""
    return operations.admit(
        "image.rename",
        Target("image", image.id, image.name),
        {"name": name},
        reserve=lambda operation: _reserve(context, image, name, operation),
    )


def _reserve(context: Context, image: Image, name: str, operation: Operation) -> None:
    try:
        context.resources.reserve(
            [(NAME, name)],
            owner_id=image.id,
            operation_id=operation.id,
            boot_id=operation.boot_id,
        )
    except Taken as taken:
        raise _being_made(name, taken.owner_id) from None


def _being_made(name: str, holder: str) -> Conflict:
    return Conflict(
        f"the image {name} is being made already",
        cause=f"as {holder}",
        resolution="banger operation list",
    )
