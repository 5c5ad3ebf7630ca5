"""Checks the files of a user's own that a VM is to boot from, before anything is made."""

from __future__ import annotations

from pathlib import Path

from banger.drivers.guest.base import Guest
from banger.errors import InvalidInput
from banger.host.disk_content import ext_facts, read_head, what_is
from banger.model.vm import MIB
from banger.service.boot_files import takes_layer
from banger.service.requests import CreateRequest

#: Magic numbers: ELF, and the bzImage header (offset 514).
_ELF_MAGIC = (0, b"\x7fELF")
_BZIMAGE_MAGIC = (514, b"HdrS")
_CPIO_AND_COMPRESSED = (
    (0, b"070701"),
    (0, b"070702"),
    (0, b"\x1f\x8b"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"\x02\x21\x4c\x18"),
    (0, b"\xfd7zXZ"),
    (0, b"BZh"),
    (0, b"\x5d\x00\x00"),
)
_GPT = "a disk with partitions (GPT)"
_MBR = "a disk with partitions (MBR)"
_TAKE_OUT = "sfdisk --list FILE, then dd one partition into a file of its own"
_CURES = {
    _GPT: _TAKE_OUT,
    _MBR: _TAKE_OUT,
    "a qcow2 disk": "qemu-img convert -O raw FILE disk.raw, and see what is in that",
    "a tar archive": "mke2fs -d FOLDER -t ext4 rootfs.ext4 2G, with FOLDER the unpacked archive",
}
#: Room that the guest's identity takes in its root file system: a busybox and an archive.
_LAYER_BYTES = 4 * MIB


def check(request: CreateRequest, guest: Guest) -> None:
    """Raises ``InvalidInput`` that names the file and what was found instead."""
    if request.kernel:
        _check_magic("kernel", request.kernel, (_ELF_MAGIC, _BZIMAGE_MAGIC), "an ELF or bzImage")
    if request.initrd:
        _check_magic("initrd", request.initrd, _CPIO_AND_COMPRESSED, "a cpio archive")
    if request.modules and not request.kernel:
        raise InvalidInput(
            f"the modules folder {request.modules!r:.200} cannot be used",
            cause="no kernel of your own was given that they could belong to",
            resolution="banger run --rootfs FILE --kernel FILE --modules DIR",
        )
    if request.modules:
        guest.check_modules(Path(request.modules))
    if request.rootfs:
        _check_rootfs(request.rootfs, layer=takes_layer(request, guest))


def _check_rootfs(path: str, *, layer: bool) -> None:
    brief = f"the root file system {path!r:.200} cannot be used"
    head = _head_of("root file system", path)
    if found := what_is(head):
        raise InvalidInput(
            brief,
            cause=f"it is {found}, and not an ext4 file system",
            resolution=_CURES.get(found, f"file {path}"),
        )
    facts = ext_facts(head)
    size = Path(path).stat().st_size
    if size < facts.size:
        raise InvalidInput(
            brief,
            cause=f"it is cut short: {facts.size} bytes by its own account, {size} on disk",
            resolution="copy or unpack it again",
        )
    if not layer or facts.empty:
        return
    if facts.unknown_features:
        raise InvalidInput(
            brief,
            cause=f"it has features that e2fsprogs cannot write ({facts.unknown_features:#x})",
            resolution=f"dumpe2fs -h {path}",
        )
    if facts.free < _LAYER_BYTES:
        raise InvalidInput(
            brief,
            cause=f"{facts.free // MIB} MiB are free in it, {_LAYER_BYTES // MIB} are needed",
            resolution=f"truncate -s +64M {path} && resize2fs {path}",
        )


def _check_magic(what: str, path: str, magics: tuple[tuple[int, bytes], ...], kind: str) -> None:
    head = _head_of(what, path)
    if not any(head[offset : offset + len(magic)] == magic for offset, magic in magics):
        raise InvalidInput(
            f"the {what} {path!r:.200} cannot be used",
            cause=f"it is not {kind}",
            resolution=f"file {path}",
        )


def _head_of(what: str, path: str) -> bytes:
    resolution = "give the absolute path of an existing file"
    brief = f"the {what} {path!r:.200} cannot be used"
    if not path.startswith("/"):
        raise InvalidInput(brief, cause="the path is not absolute", resolution=resolution)
    file = Path(path)
    try:
        if not file.is_file():
            cause = "it is no regular file" if file.exists() else "there is no such file"
            raise InvalidInput(brief, cause=cause, resolution=resolution)
        return read_head(file)
    except (OSError, ValueError) as error:
        raise InvalidInput(brief, cause=str(error), resolution=resolution) from error
