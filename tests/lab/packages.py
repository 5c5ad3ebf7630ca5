"""What the lab host is made of: a minimal Debian by mmdebstrap, its kernel, Python libraries."""

from __future__ import annotations

import functools
import hashlib
import shutil
import sys
from pathlib import Path

from banger.drivers.guest.initrd import unpack_module
from banger.drivers.image import apt_options
from banger.drivers.image.mmdebstrap import PRIVATE_MOUNTS, TRIM
from tests import archive
from tests.command import output
from tests.firecracker_program import firecracker_program
from tests.plugins.built_image import cache

#: What a developer's host has when banger runs there with Firecracker. There is no QEMU in it.
PACKAGES = (
    *("busybox-static", "ca-certificates", "curl", "dmsetup", "e2fsprogs", "iproute2"),
    *("iputils-ping", "kmod", "mount", "nftables", "openssh-client", "procps", "python3"),
    *("strace", "sudo", "util-linux"),
)
#: The kernel that was measured: KVM in it runs guests below QEMU's emulated SVM. With huge pages it
#: needs a third of the exits that 6.1 needs, which does not align Firecracker's memory to them.
KERNEL_PACKAGE = "linux-image-6.12-cloud-amd64"
LIBRARIES = Path(__file__).parents[2] / "requirements/base.txt"
DIST_PACKAGES = "usr/lib/python3/dist-packages"


@functools.cache
def kernel_version() -> str:
    """The version that the kernel's metapackage asks for today."""
    return archive.kernel_version(KERNEL_PACKAGE)


def ingredients() -> str:
    """Everything that decides what the root tree holds, but for the archive's state."""
    program = firecracker_program()
    own = [Path(__file__), Path(__file__).with_name("root_tree.py"), LIBRARIES]
    own += sorted(Path(__file__).with_name("files").iterdir())
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in own if path.is_file()]
    return "\n".join((archive.SUITE, *PACKAGES, kernel_version(), program.sha256, *digests))


def install_system(tree: Path, scratch: Path) -> None:
    """The packages, from the archive that this machine uses, into an empty ``tree``."""
    debs = cache() / "packages/lab-debs"
    debs.mkdir(parents=True, exist_ok=True)
    options = apt_options.parse_options(output("apt-config", "dump"))
    listing = scratch / "lab.sources"
    listing.write_text(archive.source_list())
    archives = '"$1"/var/cache/apt/archives'
    output(
        *PRIVATE_MOUNTS,
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--quiet"),
        f"--include={','.join(PACKAGES)}",
        '--aptopt=Acquire::Languages "none"',
        *(f"--aptopt={option}" for option in options),
        *(f"--dpkgopt={option}" for option in ("force-unsafe-io", *TRIM)),
        f"--setup-hook=mkdir -p {archives}; cp {debs}/*.deb {archives}/ || true",
        f"--customize-hook=cp -n {archives}/*.deb {debs}/ || true",
        *("--skip=cleanup/apt", "--skip=essential/unlink"),
        *(archive.SUITE, str(tree), *([str(listing)] if listing.stat().st_size else [])),
    )
    shutil.rmtree(tree / "var/cache/apt")
    shutil.rmtree(tree / "var/lib/apt/lists")


def install_kernel(tree: Path, scratch: Path) -> Path:
    """The kernel's modules into ``tree``; returns its boot image. Nothing of it is run here."""
    version = kernel_version()
    (package,) = archive.download(scratch, f"linux-image-{version}")
    output("dpkg-deb", "-x", str(package), str(scratch / "kernel"))
    output("cp", "-a", f"{scratch}/kernel/lib/modules", str(tree / "usr/lib"))
    # Unpacked here, none has to be unpacked on the emulated processor.
    for module in (tree / "usr/lib/modules" / version).rglob("*.ko.xz"):
        module.with_suffix("").write_bytes(unpack_module(module))
        module.unlink()
    # This machine may have no depmod; the tree has one, under its many-named program.
    depmod = scratch / "depmod"
    depmod.symlink_to(tree / "usr/bin/kmod")
    output(str(depmod), "-b", str(tree), version)
    return scratch / "kernel/boot" / f"vmlinuz-{version}"


def install_libraries(tree: Path) -> None:
    """banger's pinned libraries, as its own environment has them."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    target = tree / DIST_PACKAGES
    arguments = ("install", "--no-deps", "--require-hashes", "--target", str(target))
    output(*pip, *arguments, "--requirement", str(LIBRARIES))
    output(sys.executable, "-m", "compileall", "-q", "-s", str(tree), str(target))


def install_firecracker(tree: Path) -> None:
    """The verified Firecracker and jailer, in the PATH of everybody."""
    program = firecracker_program()
    for source in (program.path, Path(program.jailer)):
        shutil.copy(source, tree / "usr/local/bin" / source.name)
        (tree / "usr/local/bin" / source.name).chmod(0o755)
