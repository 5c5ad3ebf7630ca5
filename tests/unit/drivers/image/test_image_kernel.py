from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from banger.drivers.image.kernel import check_vmlinux, extract_vmlinux, payload_of, unpacked_kernel
from banger.errors import CorruptState, InvalidInput

KERNEL = struct.pack("<4sBB10xHH", b"\x7fELF", 2, 1, 2, 62) + random.Random(1).randbytes(8192)


def boot_image(payload: bytes, protocol: int = 0x020F) -> bytes:
    """A bzImage with two setup sectors and the payload 100 bytes behind them."""
    image = bytearray(3 * 512 + 100)
    image[0x1F1] = 2
    image[0x1FE:0x200] = b"\x55\xaa"
    struct.pack_into("<4sH", image, 0x202, b"HdrS", protocol)
    struct.pack_into("<II", image, 0x248, 100, len(payload))
    return bytes(image) + payload + b"rest of the image"


def tool(*argv: str) -> ParameterSet:
    def compress(data: bytes) -> bytes:
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout

    present = shutil.which(argv[0]) is not None
    reason = f"{argv[0]} is not installed (Debian package {argv[0]})"
    return pytest.param(compress, marks=pytest.mark.skipif(not present, reason=reason))


@pytest.mark.parametrize(
    "compress",
    [
        bytes,
        gzip.compress,
        lzma.compress,
        bz2.compress,
        lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
        tool("zstd", "-c", "-q"),
        tool("lz4", "-l", "-c", "-q"),
    ],
)
async def test_each_compression(compress: Callable[[bytes], bytes]) -> None:
    size = len(KERNEL).to_bytes(4, "little")
    packed = compress(KERNEL)
    # A plain kernel has no size behind it.
    image = boot_image(packed if packed == KERNEL else packed + size)
    assert await extract_vmlinux(image) == KERNEL


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (b"", "no x86 boot image"),
        (b"just a text file\n" * 100, "no x86 boot image"),
        (KERNEL, "no x86 boot image"),
        (boot_image(b"x", protocol=0x0201), "boot header"),
        (boot_image(b""), "cut short"),
        (boot_image(b"x" * 100)[:1650], "cut short"),
    ],
)
def test_what_is_no_boot_image(image: bytes, cause: str) -> None:
    with pytest.raises(CorruptState) as caught:
        payload_of(image)
    assert cause in caught.value.cause


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        (b"unknown", "unknown way"),
        (gzip.compress(KERNEL, mtime=0)[:-400], "ends too early"),
        (lzma.compress(KERNEL)[:-40], "ends too early"),
        (gzip.compress(b"not a kernel" * 10, mtime=0), "no 64-bit ELF"),
    ],
)
async def test_a_payload_that_is_no_kernel(payload: bytes, cause: str) -> None:
    with pytest.raises(CorruptState) as caught:
        await extract_vmlinux(boot_image(payload))
    assert cause in caught.value.cause


def test_a_kernel_for_another_machine() -> None:
    arm = struct.pack("<4sBB10xHH", b"\x7fELF", 2, 1, 2, 183)
    with pytest.raises(CorruptState) as caught:
        check_vmlinux(arm)
    assert "another machine" in caught.value.cause


async def test_a_users_kernel_is_unpacked_once_and_again_when_it_changes(tmp_path: Path) -> None:
    kernel, target = tmp_path / "vmlinuz", tmp_path / "vmlinux"
    kernel.write_bytes(KERNEL)
    assert await unpacked_kernel(kernel, target) == kernel
    assert not target.exists()
    kernel.write_bytes(boot_image(gzip.compress(KERNEL)))
    assert await unpacked_kernel(kernel, target) == target
    assert target.read_bytes() == KERNEL
    inode = target.stat().st_ino
    assert await unpacked_kernel(kernel, target) == target
    assert target.stat().st_ino == inode
    os.utime(kernel, ns=(1, 1))
    assert await unpacked_kernel(kernel, target) == target
    assert target.stat().st_ino != inode
    kernel.write_bytes(boot_image(b"unknown"))
    with pytest.raises(InvalidInput, match="vmlinuz cannot be used") as caught:
        await unpacked_kernel(kernel, target)
    assert caught.value.cause
