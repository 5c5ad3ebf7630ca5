"""The files of an image archive or layout folder by their names, each as a window."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from banger.drivers.image.unpack.limits import MAX_MANIFEST_BYTES, Refused, shown
from banger.drivers.image.unpack.tar import entries
from banger.drivers.image.unpack.window import Window

#: More files than this are a root file system and no archive of an image.
_MAX_MEMBERS = 10_000
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")
_LINKS_FOLLOWED = 4

Members = Mapping[str, Window]


def of_archive(window: Window) -> dict[str, Window]:
    """The files in a tar. Links to files in it are followed, as ``docker save`` made them.

    Every header is read to the end, so a damaged archive is refused here. Raises ``Refused``.
    """
    found: dict[str, Window] = {}
    links: dict[str, str] = {}
    seen: set[str] = set()
    for count, entry in enumerate(entries(window)):
        if count > _MAX_MEMBERS:
            found.clear()
            links.clear()
            continue
        name = posixpath.normpath(entry.name.decode("utf-8", "surrogateescape"))
        if entry.kind == "folder" or name.startswith(("/", "..")):
            continue
        if name in seen and (name.endswith(".json") or name.startswith("blobs/")):
            raise Refused(f"it has two files {shown(entry.name)}")
        seen.add(name)
        if entry.kind == "file" and len(entry.pieces) <= 1:
            # One piece from the beginning to the end: what is sparse is no part of a layout.
            if sum(piece.size for piece in entry.pieces) == entry.size:
                position = entry.pieces[0].position if entry.pieces else 0
                found[name] = window.part(position, entry.size)
        elif entry.kind == "symlink":
            target = entry.link.decode("utf-8", "surrogateescape")
            links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        elif entry.kind == "hardlink":
            links[name] = posixpath.normpath(entry.link.decode("utf-8", "surrogateescape"))
    for name, target in links.items():
        for _ in range(_LINKS_FOLLOWED):
            if target in found:
                found[name] = found[target]
                break
            target = links.get(target, "")
    return found


def blob(members: Members, descriptor: Mapping[str, Any]) -> Window:
    """What an OCI descriptor names, if its size is right. Its digest is still to be checked."""
    digest, size = descriptor.get("digest"), descriptor.get("size")
    match = _DIGEST.match(digest) if isinstance(digest, str) else None
    if match is None:
        raise Refused(f"{digest!r:.100} is no SHA-256 digest")
    found = members.get(f"blobs/sha256/{match[1]}")
    if found is None:
        raise Refused(f"the blob {digest} is missing")
    if not isinstance(size, int) or size != found.size:
        raise Refused(f"the blob {digest} has {found.size} bytes instead of {size!r:.40}")
    return found


def document(window: Window, what: str, digest: str = "") -> Any:
    """A JSON document whose digest is right, if one is given. Raises ``Refused``."""
    if window.size > MAX_MANIFEST_BYTES:
        raise Refused(f"{what} has {window.size} bytes")
    data = window.read(0, window.size)
    if digest and "sha256:" + hashlib.sha256(data).hexdigest() != digest:
        raise Refused(f"{what} is not what its digest {digest:.80} says")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(f"{what} is no JSON") from None


def mapping(value: Any, what: str) -> dict[str, Any]:
    """The value if it is a JSON object, else ``Refused``."""
    if not isinstance(value, dict):
        raise Refused(f"{what} is no JSON object")
    return value


def sequence(value: Any, what: str) -> list[Any]:
    """The value if it is a JSON array, else ``Refused``."""
    if not isinstance(value, list):
        raise Refused(f"{what} is no JSON array")
    return value
