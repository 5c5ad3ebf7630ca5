"""Makes the files of an image final: on disk, read-only, and known by their digest."""

from __future__ import annotations

import os
from pathlib import Path

from banger.drivers.image.digest import content_sha256
from banger.host.files import allocated_bytes, explained, sync_folder


def seal(folder: Path) -> tuple[int, str]:
    """See ``ImageBuilder.seal``; takes as long as reading the root file system does."""
    rootfs = folder / "rootfs.ext4"
    with explained(f"keep the files of {folder}"):
        digest = content_sha256(rootfs)
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                make_durable(path)
            elif path.is_dir() and not path.is_symlink():
                sync_folder(path)
        sync_folder(folder)
        return allocated_bytes(rootfs), digest


def make_durable(path: Path) -> None:
    """On disk, and read-only: every VM of the image shares the file. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o444)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
