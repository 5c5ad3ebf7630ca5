"""A user's own files that pass the first look and hold nothing."""

from __future__ import annotations

import struct
from pathlib import Path

from banger.service.requests import CreateRequest

_BLOCKS, _INODES = 4096, 1024


def own_files(folder: Path) -> CreateRequest:
    """Files below ``folder``: an ext file system without files, an ELF, an initrd, modules."""
    (folder / "modules/kernel").mkdir(parents=True, exist_ok=True)
    rootfs, kernel, initrd = folder / "own.ext4", folder / "vmlinux", folder / "foreign.cpio"
    rootfs.write_bytes(empty_ext(_BLOCKS))
    kernel.write_bytes(b"\x7fELF Linux version 6.9.1-own (me)")
    initrd.write_bytes(b"\x1f\x8b")
    return CreateRequest(
        rootfs=str(rootfs), kernel=str(kernel), initrd=str(initrd), modules=str(folder / "modules")
    )


def empty_ext(blocks: int) -> bytes:
    """The super block of an ext file system with blocks of 1024 bytes and no files, in a file."""
    block = bytearray(1024)
    struct.pack_into("<7I", block, 0, _INODES, blocks, 0, blocks - 64, _INODES - 11, 1, 0)
    struct.pack_into("<H", block, 0x38, 0xEF53)
    return (bytes(1024) + block).ljust(blocks * 1024, b"\0")
