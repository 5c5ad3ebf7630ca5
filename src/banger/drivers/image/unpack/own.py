"""Reads the archives that ``banger image export`` writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from banger.drivers.image.unpack import inflate
from banger.drivers.image.unpack.limits import MAX_TOTAL_BYTES, Refused
from banger.drivers.image.unpack.members import Members, document, mapping
from banger.drivers.image.unpack.tar import Entry, entries
from banger.drivers.image.unpack.window import CHUNK, Window

RECORD, ROOTFS, KERNEL, INITRD = "banger-image.json", "rootfs.ext4", "vmlinux", "initrd.cpio"
FORMAT = 1
#: What is taken over from the record, beside what is measured anew.
_TEXTS = ("suite", "rootfs_sha256", "origin")
_FLAGS = ("docker", "own_boot", "carries_agent")
_MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class OwnImage:
    """An exported image: its record, where its root file system lies, and its other files."""

    record: dict[str, Any]
    archive: Window
    rootfs: Entry
    files: dict[str, Window]


def find(archive: Window, members: Members) -> OwnImage | None:
    """The exported image in an archive, ``None`` if it is none. Raises ``Refused``."""
    if RECORD not in members:
        return None
    record = mapping(document(members[RECORD], RECORD), RECORD)
    if record.get("format") != FORMAT:
        raise Refused(f"it is in the form {record.get('format')!r:.20}, and {FORMAT} is known")
    found = [entry for entry in entries(archive) if entry.name == ROOTFS.encode()]
    if len(found) != 1 or found[0].kind != "file":
        raise Refused(f"it has no {ROOTFS}, or several")
    if found[0].size > MAX_TOTAL_BYTES or found[0].size % 4096:
        raise Refused(f"its {ROOTFS} has {found[0].size} bytes")
    files = {name: members[name] for name in (KERNEL, INITRD) if name in members}
    if KERNEL not in files:
        raise Refused(f"it has no {KERNEL}")
    return OwnImage(record, archive, found[0], files)


def read(image: OwnImage, step: inflate.Step) -> dict[str, Any]:
    """Copy kernel and initrd into the scratch folder and return the record."""
    digests = mapping(image.record.get("sha256"), "its list of digests")
    for name, window in image.files.items():
        _, digest = inflate.copy(window, name, step)
        if digests.get(name) != digest:
            raise Refused(f"its {name} is not what its digest says")
    kept = {key: image.record[key] for key in _TEXTS if isinstance(image.record.get(key), str)}
    if any(len(text) > _MAX_TEXT for text in kept.values()):
        raise Refused(f"its {RECORD} has a text of more than {_MAX_TEXT} characters")
    return {
        **kept,
        **{key: image.record.get(key) is True for key in _FLAGS},
        "size_bytes": image.rootfs.size,
        "files": sorted(image.files),
    }


def write(image: OwnImage, descriptor: int, step: inflate.Step) -> None:
    """The root file system, holes where it has some. Its digest is checked by the caller."""
    os.ftruncate(descriptor, image.rootfs.size)
    done = 0
    for piece in image.rootfs.pieces:
        start = 0
        while start < piece.size:
            data = image.archive.read(piece.position + start, min(CHUNK, piece.size - start))
            os.pwrite(descriptor, data, piece.offset + start)
            start += len(data)
            done += len(data)
            step(done)
