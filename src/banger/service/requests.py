"""What a user asks for when creating a VM or building an image, before anything is resolved."""

from __future__ import annotations

from msgspec import Struct

from banger.model.image import DEFAULT_IMAGE, DEFAULT_SUITE
from banger.model.network import Forward
from banger.model.vm import (
    DEFAULT_MEMORY_MIB,
    DEFAULT_OVERLAY_BYTES,
    DEFAULT_VCPUS,
    GIB,
)

DEFAULT_IMAGE_BYTES = 8 * GIB


class CreateRequest(Struct, frozen=True):
    """Fields of ``POST /v1/vms``. Empty text means: take the default."""

    name: str = ""
    image: str = ""
    vcpus: int = DEFAULT_VCPUS
    memory_mib: int = DEFAULT_MEMORY_MIB
    overlay_bytes: int = DEFAULT_OVERLAY_BYTES
    work_disk_bytes: int = 0
    rootfs: str = ""
    kernel: str = ""
    initrd: str = ""
    modules: str = ""
    vmm: str = "auto"
    storage: str = "auto"
    network: str = "auto"
    profile: str = "auto"
    nat: bool = False
    isolated: bool = False
    host_access: bool = False
    jail: bool = False
    forwards: tuple[Forward, ...] = ()
    restart: str = "no"


class SetRequest(Struct, frozen=True):
    """Fields of ``POST /v1/vms/{ref}/set``. None: it stays as it is."""

    vcpus: int | None = None
    memory_mib: int | None = None
    overlay_bytes: int | None = None
    work_disk_bytes: int | None = None
    restart: str | None = None


class BuildRequest(Struct, frozen=True):
    """Fields of ``POST /v1/images``. ``packages`` is the list's text, None for the default.

    ``docker`` None: as the image of the name was built, else by the name.
    """

    name: str = DEFAULT_IMAGE
    suite: str = DEFAULT_SUITE
    packages: str | None = None
    size_bytes: int = DEFAULT_IMAGE_BYTES
    docker: bool | None = None
    rebuild: bool = False


class ImportRequest(Struct, frozen=True):
    """Fields of ``POST /v1/images:import``. Paths are absolute; the last three may be empty."""

    name: str
    archive: str
    size_bytes: int = DEFAULT_IMAGE_BYTES
    kernel: str = ""
    initrd: str = ""
    modules: str = ""


class CustomizeRequest(Struct, frozen=True):
    """Fields of ``POST /v1/images:customize``. Empty text and 0 mean: as the base has it.

    ``base`` is an image, or the absolute path of an ext4 file. ``packages`` is a list's text.
    """

    base: str
    name: str = ""
    size_bytes: int = 0
    packages: str | None = None
    docker: bool = False
    kernel: str = ""
    initrd: str = ""
    modules: str = ""
