"""Images: a root file system, the kernel and initrd that boot it, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DEFAULT_IMAGE = "debian"
#: The image with Docker in it that is built on demand.
DOCKER_IMAGE = "docker-debian"
DEFAULT_SUITE = "bookworm"


class ImageState(StrEnum):
    """Whether an image can be used."""

    BUILDING = "building"
    READY = "ready"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What an image is built from. ``size_bytes`` is the size of the root file system.

    ``docker``: beside the packages, what Docker needs is put into it.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    packages_sha256: str
    size_bytes: int
    docker: bool = False


@dataclass(frozen=True, slots=True)
class Customization:
    """What is made out of the root file system in the file ``rootfs``.

    ``packages`` and, with ``docker``, all that Docker needs are put into it; ``suite`` is the
    Debian release that they are of, empty if only the root file system can tell. ``kernel`` is the
    file of the kernel, ``initrd`` that of its initrd; empty: ``ours`` says whether one is made.
    The kernel's modules are those of the folder ``modules``, if given, or else of the root file
    system in the file ``modules_of``; with neither it has them already. Paths are absolute.
    """

    name: str
    rootfs: str
    size_bytes: int
    kernel: str
    initrd: str = ""
    ours: bool = False
    modules: str = ""
    modules_of: str = ""
    suite: str = ""
    packages: tuple[str, ...] = ()
    docker: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """One image as the store holds it; its files lie in ``paths.image(id)``.

    The files are always named ``rootfs.ext4``, ``vmlinux`` and ``initrd.cpio``.
    ``allocated_bytes`` is what the root file system occupies on the host,
    ``rootfs_sha256`` the digest of its content: SHA-256 over the offset (8 bytes, little end
    first) and the content of each 4096-byte block that is not zero, then the size in 8 bytes.
    ``own_list``: it was built from a list given for it alone, whose digest ``packages_sha256`` is.
    ``docker``: it was built with Docker in it.
    ``own_boot``: its kernel is somebody's own; then its initrd may be any or none, and the folder
    ``modules`` may be there. ``origin`` says in words how it was made, unless it was built.
    ``carries_agent``: banger has put into it what its agent needs, whatever else is in it.
    ``container`` is how the configuration of an imported OCI image would start it: ``Env``,
    ``Entrypoint``, ``Cmd``, ``WorkingDir`` and ``User``, where they are given.
    """

    id: str
    name: str
    state: ImageState
    suite: str
    packages_sha256: str
    size_bytes: int
    allocated_bytes: int
    rootfs_sha256: str
    kernel_version: str
    created_at: float
    generation: int = 1
    docker: bool = False
    own_list: bool = False
    own_boot: bool = False
    origin: str = ""
    carries_agent: bool = False
    container: Mapping[str, Any] = field(default_factory=dict)
