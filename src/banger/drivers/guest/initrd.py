"""Builds the image's initrd: a static busybox, our init script and the modules to reach a disk."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path

from banger.drivers.guest.guest_files import guest_file
from banger.errors import InvalidInput
from banger.host import cpio
from banger.host.command import Command, run_blocking
from banger.host.modules import depends_of, load_order, module_name, parse_builtin

#: What every guest loads before its root: transport, disk, network, agent port, entropy.
BOOT_MODULES = (
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "ext4",
)
#: What only a guest with a vsock agent loads (kernel argument ``banger.vsock=1``).
VSOCK_MODULES = ("vmw_vsock_virtio_transport",)
#: Without these no boot can succeed, so their absence is an error and not a smaller initrd.
_REQUIRED = frozenset({"virtio_mmio", "virtio_blk", "ext4"})

_FOLDERS = ("bin", "dev", "proc", "sys", "run", "root", "banger", "modules")
#: The folder by which our initrd is told from any other.
_MARK = "banger"
#: ``EI_CLASS`` 64 bit behind the ELF magic.
_ELF64 = b"\x7fELF\x02"


def build_initrd(module_tree: Path, kernel_version: str, busybox: bytes) -> bytes:
    """The initrd of an image as one uncompressed, reproducible archive.

    ``module_tree`` is the folder that holds ``lib/modules/VERSION`` (or the version's folder
    itself), ``busybox`` the bytes of a static busybox. Raises ``InvalidInput`` when the tree
    has no such kernel or lacks a module without which nothing boots.
    """
    if not busybox.startswith(_ELF64):
        raise InvalidInput(
            "the busybox for the initrd is not a 64-bit program",
            cause="its first bytes are not those of an ELF file",
            resolution="sudo apt-get install --reinstall busybox-static",
        )
    folder = _version_folder(module_tree, kernel_version)
    builtin = _builtin(folder)
    found = _Modules(folder)
    boot, missing = load_order(BOOT_MODULES, found.needs, builtin)
    lacking = sorted(_REQUIRED.intersection(missing))
    if lacking:
        raise InvalidInput(
            f"the kernel {kernel_version} cannot boot a VM",
            cause=f"its modules lack {', '.join(lacking)}",
            resolution="choose a kernel with virtio and ext4, such as linux-image-cloud-amd64",
        )
    vsock, _ = load_order(VSOCK_MODULES, found.needs, builtin | set(boot))
    entries = [cpio.folder(name) for name in _FOLDERS]
    # The console must exist before init runs, for nothing can mount devtmpfs without it.
    entries.append(cpio.character_device("dev/console", 5, 1))
    entries.append(cpio.file("bin/busybox", busybox, 0o755))
    entries.append(cpio.link("bin/sh", "busybox"))
    entries.append(cpio.file("init", guest_file("init"), 0o755))
    entries.append(cpio.file("settle", guest_file("settle")))
    entries += [cpio.file(f"modules/{name}.ko", found.content(name)) for name in boot + vsock]
    entries.append(cpio.file("modules/boot", _lines(boot)))
    entries.append(cpio.file("modules/vsock", _lines(vsock)))
    return cpio.archive(entries)


def is_ours(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is an initrd that banger built.

    Its mark is the folder ``banger`` among its first members, in an archive that is not
    compressed. Only such a one reads the identity that travels behind it.
    """
    return _MARK in cpio.first_names(head, len(_FOLDERS) + 1)


class _Modules:
    """The modules of one kernel by name, each read and unpacked at most once."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.rglob("*.ko*"))
        self._paths = {module_name(path.name): path for path in paths if ".ko" in path.name}
        self._contents: dict[str, bytes] = {}

    def needs(self, name: str) -> tuple[str, ...] | None:
        return depends_of(self.content(name)) if name in self._paths else None

    def content(self, name: str) -> bytes:
        if name not in self._contents:
            self._contents[name] = unpack_module(self._paths[name])
        return self._contents[name]


def unpack_module(path: Path) -> bytes:
    """The ELF content of a module file, whatever Debian or the user compressed it with.

    Raises ``InvalidInput`` for a damaged file, ``HostNotReady`` if zstd is needed and missing.
    """
    data = path.read_bytes()
    try:
        if path.suffix == ".xz":
            data = lzma.decompress(data)
        elif path.suffix == ".gz":
            data = zlib.decompress(data, wbits=31)
        elif path.suffix == ".zst":
            data = _unpack_zstd(data)
    except (lzma.LZMAError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    if not data.startswith(_ELF64):
        raise _damaged(path, "its content is not a 64-bit ELF file")
    return data


def _unpack_zstd(data: bytes) -> bytes:
    # The standard library learned zstd long after the Python this runs on.
    command = Command(("zstd", "-d", "-q", "-c"), stdin=data, timeout=30, package="zstd")
    return run_blocking(command).stdout


def _damaged(path: Path, cause: str) -> InvalidInput:
    return InvalidInput(
        f"the kernel module {path} cannot be read",
        cause=cause,
        resolution="unpack the kernel package again",
    )


def _version_folder(tree: Path, version: str) -> Path:
    for folder in (tree / "lib/modules" / version, tree / "usr/lib/modules" / version, tree):
        if folder.name == version and (folder / "kernel").is_dir():
            return folder
    raise InvalidInput(
        f"there are no modules of the kernel {version} in {tree}",
        cause=f"neither it nor lib/modules/{version} in it is a folder with kernel modules",
        resolution="give the folder into which the kernel's package was unpacked",
    )


def _builtin(folder: Path) -> frozenset[str]:
    listing = folder / "modules.builtin"
    return parse_builtin(listing.read_text(encoding="utf-8")) if listing.is_file() else frozenset()


def _lines(names: list[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()
