"""The image builder protocol: a spec becomes a folder with rootfs, kernel and initrd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from banger.model.image import Customization, ImageSpec

#: Called with (phase title, fraction of the phase done or None, one line of detail).
ProgressCallback = Callable[[str, "float | None", str], None]


class BuiltImage(Struct, frozen=True):
    """What a build left in its folder: ``rootfs.ext4``, ``vmlinux`` and ``initrd.cpio``.

    They are read-only, for all VMs of the image share them. See ``Image`` for the fields.
    """

    size_bytes: int
    allocated_bytes: int
    rootfs_sha256: str
    kernel_version: str
    package_count: int


class BuildFolders(Struct, frozen=True):
    """``target`` (exists, empty) gets the three files, ``scratch`` (exists, empty) is room to
    work in, ``debs`` is the package cache that later builds share, ``log`` keeps all output."""

    target: Path
    scratch: Path
    debs: Path
    log: Path


class ImageBuilder(Protocol):
    """Builds images from a package archive."""

    name: str

    async def build(
        self, spec: ImageSpec, folders: BuildFolders, progress: ProgressCallback
    ) -> BuiltImage:
        """Build. Cancellation ends every child. Leaves nothing mounted at any time.

        Raises ``CommandFailed`` with the last lines of output, ``HostNotReady`` for a
        missing program or short space.
        """
        ...

    async def customize(
        self, wanted: Customization, folders: BuildFolders, progress: ProgressCallback
    ) -> BuiltImage:
        """Make another image out of a root file system, which stays as it is.

        The root file system is untrusted: nothing of it is mounted or started with any right on
        the host. Cancellation as for ``build``. Raises as ``build``, and ``InvalidInput`` for a
        root file system that cannot be read, or not be what is wanted.
        """
        ...

    async def plain_kernel(self, kernel: Path, target: Path) -> Path:
        """The kernel itself: ``kernel``, or what a compressed one holds, unpacked as ``target``.

        A ``target`` of the same time as ``kernel`` is taken as it is. Raises ``InvalidInput``
        for a damaged kernel, ``HostNotReady`` if the program for its compression is missing.
        """
        ...

    async def seal(self, folder: Path) -> tuple[int, str]:
        """Make the finished files of an image durable and read-only.

        Returns the root file system's allocated bytes and its digest (see ``Image``).
        """
        ...

    async def clean(self, folders: BuildFolders) -> None:
        """Remove ``scratch`` and ``target`` whatever state a dead build left them in.

        With user namespaces, files may belong to mapped ids that only a namespace can delete.
        """
        ...


class ImportSpec(Struct, frozen=True):
    """What is imported. ``archive`` is a file or an OCI layout folder.

    ``base`` is the folder of an image of banger's own. From it comes the Python of the agent, and
    the modules of its kernel, whose version is ``modules``; none if that is empty. An archive that
    banger has exported needs no base, and brings its kernel and the size of its file system.
    """

    archive: Path
    size_bytes: int
    base: Path | None = None
    modules: str = ""


class ImportedImage(Struct, frozen=True):
    """What is known of an imported image. See ``Image`` for the fields.

    ``exported_sha256`` is what ``rootfs_sha256`` must become, empty if nobody has said.
    """

    size_bytes: int
    suite: str = ""
    origin: str = ""
    docker: bool = False
    own_boot: bool = False
    carries_agent: bool = False
    exported_sha256: str = ""
    container: Mapping[str, object] = field(default_factory=dict)


class ImageImporter(Protocol):
    """Makes root file systems out of archives of anybody's."""

    async def unpack(
        self, spec: ImportSpec, folders: BuildFolders, progress: ProgressCallback
    ) -> ImportedImage:
        """Make ``rootfs.ext4`` in ``folders.target``, and ``vmlinux`` and ``initrd.cpio`` if the
        archive brings them. No name in it becomes a path of the host, and nothing is mounted.

        Raises ``InvalidInput`` for an archive that is damaged, hostile or not for this machine,
        ``HostNotReady`` for a missing program.
        """
        ...

    def brings_kernel(self, archive: Path) -> bool:
        """Whether banger has exported the archive, by its first bytes alone."""
        ...
