"""Adds what banger gives every foreign image: kernel modules, and a Python for its own agent."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from banger.drivers.image.unpack.limits import Refused
from banger.drivers.image.unpack.sparse import Piece
from banger.drivers.image.unpack.tree import Node, Tree
from banger.drivers.image.unpack.window import Window, whole

#: Belongs to banger in every guest; see ``drivers/guest/layer``.
FOLDER = b".banger"
#: Seconds since 1970, for what is added; see ``drivers/image/overlay``.
_EPOCH = 1_700_000_000
#: The number of the window that all additions lie in; layers count from 1.
SOURCE = 0
_MAX_FILE = 64 * 1024 * 1024


class Extras:
    """Puts folders of the scratch folder into the tree; their contents go into one file."""

    def __init__(self, tree: Tree, name: str) -> None:
        self._tree = tree
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(name, flags, 0o600)
        self._size = 0

    def window(self) -> Window:
        """All contents."""
        return whole(self._file)

    def agent(self, python: str, environment: Mapping[str, str]) -> None:
        """The folder of banger's own: a Python, whatever the image has, and the environment."""
        self._tree.drop(FOLDER)
        self._tree.put(FOLDER, Node("folder", 0o755, mtime=_EPOCH))
        if python:
            self.folder(python, FOLDER + b"/python")
        lines = [f"{name}={value}" for name, value in environment.items()]
        if lines:
            content = "\0".join(lines).encode("utf-8", "surrogateescape")
            self._put(FOLDER + b"/environment", content, 0o644)

    def folder(self, source: str, target: bytes) -> None:
        """Everything in the folder ``source``, as root's."""
        self._tree.put(target, Node("folder", 0o755, mtime=_EPOCH))
        with os.scandir(source) as found:
            for entry in sorted(found, key=lambda entry: entry.name):
                path = target + b"/" + os.fsencode(entry.name)
                if entry.is_symlink():
                    link = os.fsencode(Path(entry.path).readlink())
                    node = Node("symlink", 0o777, mtime=_EPOCH, size=len(link), target=link)
                    self._tree.put(path, node)
                elif entry.is_dir():
                    self.folder(entry.path, path)
                else:
                    executable = entry.stat(follow_symlinks=False).st_mode & stat.S_IXUSR
                    self._put(path, _content(entry.path), 0o755 if executable else 0o644)

    def _put(self, path: bytes, content: bytes, mode: int) -> None:
        pieces = (Piece(0, self._size, len(content)),) if content else ()
        os.pwrite(self._file, content, self._size)
        self._size += len(content)
        node = Node("file", mode, mtime=_EPOCH, size=len(content), source=SOURCE, pieces=pieces)
        self._tree.put(path, node)


def environment_of(config: Mapping[str, object]) -> dict[str, str]:
    """The ``Env`` of an image's configuration; what cannot be one is left out."""
    found: dict[str, str] = {}
    lines = config.get("Env")
    for line in lines if isinstance(lines, list) else ():
        if isinstance(line, str) and "\0" not in line:
            name, equals, value = line.partition("=")
            if name and equals:
                found[name] = value
    return found


def _content(path: str) -> bytes:
    with Path(path).open("rb") as file:
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise Refused(f"{path} is too large to be added")
    return content
