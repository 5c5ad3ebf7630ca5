"""Gets the plain kernel (an ELF file) out of Debian's compressed boot image (bzImage)."""

from __future__ import annotations

import asyncio
import bz2
import lzma
import os
import struct
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from banger.errors import CorruptState, InvalidInput
from banger.host.command import Command, run
from banger.host.files import explained, write_atomic

#: Packages that name the kernel to use, best first: 6.12 tells a guest that it was cloned
#: (VMGENID), and some suites offer it beside their own.
METAPACKAGES = ("linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64")

#: Offsets in a bzImage from the kernel's ``Documentation/arch/x86/boot.rst``.
_BOOT_FLAG, _SETUP_SECTORS, _HEADER, _PAYLOAD = 0x1FE, 0x1F1, 0x202, 0x248
#: payload_offset and payload_length exist since this version of the boot protocol.
_OLDEST_PROTOCOL = 0x0208
_SECTOR = 512
_ELF_HEADER = struct.Struct("<4sBB10xHH")
_ELF_X86_64, _ELF_EXECUTABLES = 62, (2, 3)

Unpack = Callable[[bytes], Awaitable[bytes]]


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def payload_of(image: bytes) -> bytes:
    """The compressed kernel inside a bzImage. Raises ``CorruptState`` if there is none."""
    if len(image) < 0x250 or image[_BOOT_FLAG : _BOOT_FLAG + 2] != b"\x55\xaa":
        raise _unusable("it is no x86 boot image")
    magic, protocol = struct.unpack_from("<4sH", image, _HEADER)
    if magic != b"HdrS" or protocol < _OLDEST_PROTOCOL:
        raise _unusable("its boot header is older than version 2.08 or missing")
    sectors = image[_SETUP_SECTORS] or 4
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    start = (sectors + 1) * _SECTOR + offset
    payload = image[start : start + length]
    if not length or len(payload) < length:
        raise _unusable("it is cut short")
    return payload


async def extract_vmlinux(image: bytes) -> bytes:
    """The uncompressed kernel inside a bzImage, checked to be an x86-64 executable.

    Raises ``CorruptState``, or ``HostNotReady`` if the program for its compression is missing.
    """
    payload = payload_of(image)
    for magic, unpack in _FORMATS:
        if payload.startswith(magic):
            try:
                kernel = await unpack(payload)
            except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
                raise _unusable(f"its payload is damaged: {error}") from error
            check_vmlinux(kernel)
            return kernel
    raise _unusable(f"its payload is compressed in an unknown way ({payload[:6].hex()})")


async def unpacked_kernel(kernel: Path, target: Path) -> Path:
    """See ``ImageBuilder.plain_kernel``."""
    with explained(f"read {kernel}"):
        taken = kernel.stat().st_mtime_ns
        if not _is_boot_image(kernel):
            return kernel
        if target.exists() and target.stat().st_mtime_ns == taken:
            return target
        image = await asyncio.to_thread(kernel.read_bytes)
    try:
        content = await extract_vmlinux(image)
    except CorruptState as error:
        raise InvalidInput(
            f"the kernel {kernel} cannot be used", cause=error.cause, resolution=f"file {kernel}"
        ) from error
    await asyncio.to_thread(write_atomic, target, content)
    os.utime(target, ns=(taken, taken))
    return target


def _is_boot_image(path: Path) -> bool:
    # A few bytes, and not worth a thread.
    with path.open("rb", buffering=0) as file:
        return file.read(_HEADER + 4)[_HEADER:] == b"HdrS"


def check_vmlinux(kernel: bytes) -> None:
    """Raise ``CorruptState`` unless this is the beginning of a 64-bit x86 executable."""
    if len(kernel) < _ELF_HEADER.size:
        raise _unusable("it is too short")
    magic, word_size, order, kind, machine = _ELF_HEADER.unpack_from(kernel)
    if magic != b"\x7fELF" or (word_size, order) != (2, 1):
        raise _unusable("it is no 64-bit ELF file")
    if machine != _ELF_X86_64 or kind not in _ELF_EXECUTABLES:
        raise _unusable(f"it is made for another machine (ELF type {kind}, machine {machine})")


async def _as_it_is(payload: bytes) -> bytes:
    return payload


async def _gzip(payload: bytes) -> bytes:
    return _whole(zlib.decompressobj(wbits=31), payload)


async def _xz(payload: bytes) -> bytes:
    return _whole(lzma.LZMADecompressor(), payload)


async def _bzip2(payload: bytes) -> bytes:
    return _whole(bz2.BZ2Decompressor(), payload)


def _whole(decompressor: _Decompressor, payload: bytes) -> bytes:
    """What the payload holds; bytes after its end (the unpacked size) are passed over."""
    data = decompressor.decompress(payload)
    if not decompressor.eof:
        raise EOFError("it ends too early")
    return data


async def _zstd(payload: bytes) -> bytes:
    return await _program(("zstd", "--decompress", "--stdout", "--quiet"), payload)


async def _lz4(payload: bytes) -> bytes:
    return await _program(("lz4", "-d", "-c", "-q"), payload)


async def _program(argv: tuple[str, ...], payload: bytes) -> bytes:
    # The kernel's build appends the unpacked size, which both programs take for rubbish.
    command = Command(argv, stdin=payload[:-4], package=argv[0], timeout=60)
    return (await run(command)).stdout


_FORMATS: tuple[tuple[bytes, Unpack], ...] = (
    (b"\x7fELF", _as_it_is),
    (b"\x28\xb5\x2f\xfd", _zstd),
    (b"\x02\x21\x4c\x18", _lz4),
    (b"\xfd7zXZ\0", _xz),
    (b"\x5d\x00\x00", _xz),
    (b"\x1f\x8b\x08", _gzip),
    (b"BZh", _bzip2),
)


def _unusable(cause: str) -> CorruptState:
    return CorruptState(
        "the kernel cannot be used",
        cause=cause,
        resolution="banger image build --rebuild",
    )
