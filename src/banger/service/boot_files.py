"""Where a VM's root file system, kernel and initrd lie."""

from __future__ import annotations

from pathlib import Path

from banger.model.vm import VMSpec
from banger.paths import Paths


def rootfs_of(paths: Paths, spec: VMSpec) -> Path:
    """The read-only base of the root drive."""
    return Path(spec.rootfs) if spec.rootfs else paths.image(spec.image_id) / "rootfs.ext4"


def kernel_of(paths: Paths, spec: VMSpec) -> Path:
    """The kernel to boot."""
    return Path(spec.kernel) if spec.kernel else paths.image(spec.image_id) / "vmlinux"


def initrd_of(paths: Paths, spec: VMSpec) -> Path | None:
    """The initrd that the identity is appended to; none with a kernel of the user's own."""
    if spec.initrd:
        return Path(spec.initrd)
    return None if spec.kernel else paths.image(spec.image_id) / "initrd.cpio"
