"""Puts one layer into the tree: plain entries, and the marks that take away what lies below.

The marks are those of the OCI image specification ("Image Layer Filesystem Changeset"). Of the
attributes only a file's capabilities are kept; others say things about another machine.
"""

from __future__ import annotations

from collections.abc import Callable

from banger.drivers.image.unpack.limits import (
    MAX_ENTRIES,
    MAX_PATH,
    MAX_TOTAL_BYTES,
    Refused,
    shown,
)
from banger.drivers.image.unpack.tar import Entry, entries
from banger.drivers.image.unpack.tree import Node, Tree, split
from banger.drivers.image.unpack.window import Window

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_CAPABILITY = b"SCHILY.xattr.security.capability"
#: The three versions of ``struct vfs_cap_data`` (linux/capability.h), in bytes.
_CAPABILITY_SIZES = (12, 20, 24)
#: What the kernel's device numbers have room for.
_MAX_MAJOR, _MAX_MINOR = 2**12, 2**20


class Layers:
    """Counts over all layers what each may only have once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._entries = 0
        self._bytes = 0

    def add(self, window: Window, number: int, step: Callable[[int], None]) -> None:
        """Put the layer ``number`` (from 1) in. ``step`` is told how many entries were read."""
        self._tree.layer = number
        for entry in entries(window):
            self._entries += 1
            self._bytes += sum(piece.size for piece in entry.pieces)
            if self._entries > MAX_ENTRIES:
                raise Refused(f"it has more than {MAX_ENTRIES} entries")
            if self._bytes > MAX_TOTAL_BYTES:
                raise Refused(f"it has more than {MAX_TOTAL_BYTES} bytes of files")
            if self._entries % 1000 == 0:
                step(self._entries)
            apply(self._tree, entry, number)


def apply(tree: Tree, entry: Entry, source: int) -> None:
    """Put one entry into the tree. Raises ``Refused``."""
    names = split(entry.name)
    last = names[-1] if names else b""
    if last.startswith(_WHITEOUT):
        _take_away(tree, names)
        return
    if any(name.startswith(_WHITEOUT) for name in names):
        raise Refused(f"{shown(entry.name)} lies in what is taken away")
    if entry.kind == "hardlink":
        tree.link(entry.name, entry.link)
        return
    node = Node(entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime)
    if entry.kind == "symlink":
        if not 0 < len(entry.link) < MAX_PATH:
            raise Refused(f"the link {shown(entry.name)} has a target of {len(entry.link)} bytes")
        node.target, node.size = entry.link, len(entry.link)
    elif entry.kind in ("char", "block"):
        if not (0 <= entry.major < _MAX_MAJOR and 0 <= entry.minor < _MAX_MINOR):
            raise Refused(f"{shown(entry.name)} is a device that no kernel has")
        node.device = (entry.major, entry.minor)
    elif entry.kind == "file":
        node.size, node.source, node.pieces = entry.size, source, entry.pieces
        capability = entry.pax.get(_CAPABILITY, b"")
        node.capability = capability if len(capability) in _CAPABILITY_SIZES else b""
    tree.put(entry.name, node)


def _take_away(tree: Tree, names: list[bytes]) -> None:
    folder = b"/".join(names[:-1]) or b"/"
    if names[-1] == _OPAQUE:
        tree.hide_content(folder)
        return
    if names[-1].startswith(_WHITEOUT * 2):
        return  # notes of the file system that the image was made on
    name = names[-1][len(_WHITEOUT) :]
    if name in (b"", b".", b".."):
        raise Refused(f"the mark {shown(names[-1])} takes away {shown(name)!r}")
    tree.hide(folder + b"/" + name)
