"""What an archive of anybody's may ask of us, and how one that asks for more is refused.

Everything in this folder runs in a process of its own with as few rights as can be (see
``confined``), so it imports nothing but the standard library and its own modules.
"""

from __future__ import annotations

KIB, MIB, GIB = 1024, 1024**2, 1024**3

#: Files, folders, links and everything else in all layers together.
MAX_ENTRIES = 2_000_000
#: Bytes of a path, and of one name in it (the file system's own limit).
MAX_PATH = 4096
MAX_NAME = 255
#: Symbolic links on the way to one file, as in the kernel.
MAX_LINKS_FOLLOWED = 40
MAX_FILE_BYTES = 16 * GIB
#: All layers together, unpacked.
MAX_TOTAL_BYTES = 64 * GIB
#: How much larger than its compressed form a layer may be, beyond the first ``RATIO_FREE`` bytes.
MAX_RATIO = 200
RATIO_FREE = 16 * MIB
#: What overlayfs of a Docker host can stack, so no honest image has more.
MAX_LAYERS = 127
MAX_MANIFEST_BYTES = 4 * MIB
#: Manifests in lists in lists.
MAX_INDEX_DEPTH = 4
MAX_INDEX_ENTRIES = 1000
#: An extended header of one entry: path, link and attributes.
MAX_HEADER_BYTES = 256 * KIB
#: Pieces of one sparse file.
MAX_SPARSE_PIECES = 100_000
#: ext4 counts no more names of one file.
MAX_HARD_LINKS = 65_000


class Refused(Exception):
    """The archive is not unpacked. The text says why, as the cause of an error."""


def unpacked_limit(compressed: int) -> int:
    """How many bytes may come out of so many compressed ones."""
    return min(MAX_TOTAL_BYTES, RATIO_FREE + MAX_RATIO * compressed)


def shown(name: bytes) -> str:
    """A name out of an archive, short and without anything that a terminal would obey."""
    text = name[:120].decode("utf-8", "backslashreplace")
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return text + ("…" if len(name) > 120 else "")
