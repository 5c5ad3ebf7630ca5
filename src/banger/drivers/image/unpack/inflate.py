"""Unpacks compressed layers into files of the scratch folder, and checks what they are."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator

from banger.drivers.image.unpack.limits import GIB, MAX_RATIO, Refused, unpacked_limit
from banger.drivers.image.unpack.window import Window, whole

#: Left free on the disk for everybody else, in bytes.
_RESERVE = 1 * GIB
_PIECE = 256 * 1024
#: Members of one gzip file: pigz and stargz make many.
_MAX_MEMBERS = 1_000_000

#: Told how many bytes are done.
Step = Callable[[int], None]


def gunzip(window: Window) -> Iterator[bytes]:
    """What a gzip file holds, all its members. Raises ``Refused``; the caller bounds the sum."""
    unpacker = zlib.decompressobj(wbits=31)
    members = 1
    for data in window.chunks():
        rest = data
        while rest:
            if unpacker.eof:
                if not rest.strip(b"\0"):
                    break  # padding
                unpacker = zlib.decompressobj(wbits=31)
                members += 1
                if members > _MAX_MEMBERS:
                    raise Refused("its compression is in too many parts")
            try:
                out = unpacker.decompress(rest, _PIECE)
            except zlib.error as error:
                raise Refused(f"its compression is damaged ({error})") from None
            rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            if out:
                yield out
    while not unpacker.eof:
        out = unpacker.decompress(unpacker.unconsumed_tail, _PIECE)
        if not out:
            raise Refused("its compression ends too early")
        yield out


def unpack(window: Window, name: str, step: Step) -> tuple[Window, str]:
    """Unpack a gzip file as the new file ``name`` here; returns it and its SHA-256."""
    return _write(gunzip(window), unpacked_limit(window.size), name, step)


def copy(window: Window, name: str, step: Step) -> tuple[Window, str]:
    """Copy a window into the new file ``name`` here; returns it and its SHA-256."""
    return _write(window.chunks(), window.size, name, step)


def opened(name: str) -> Window:
    """A file of the scratch folder that was made before."""
    return whole(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))


def _write(chunks: Iterator[bytes], limit: int, name: str, step: Step) -> tuple[Window, str]:
    digest, done = hashlib.sha256(), 0
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600)
    for chunk in chunks:
        done += len(chunk)
        if done > limit:
            raise Refused(
                f"it unpacks to more than {limit} bytes ({MAX_RATIO} times its size and a little)"
            )
        digest.update(chunk)
        _write_all(descriptor, chunk)
        step(done)
    return whole(descriptor), digest.hexdigest()


def _write_all(descriptor: int, chunk: bytes) -> None:
    status = os.fstatvfs(descriptor)
    if status.f_bavail * status.f_frsize < _RESERVE:
        raise Refused("less than 1 GiB is left on the disk")
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
