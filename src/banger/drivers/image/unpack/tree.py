"""A file tree in memory, and the rules by which names of anybody's are looked up in it.

No name of an archive ever becomes a path of the host: a folder is a mapping, a link leads from
node to node, and above the root there is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from banger.drivers.image.unpack.limits import (
    MAX_ENTRIES,
    MAX_HARD_LINKS,
    MAX_LINKS_FOLLOWED,
    MAX_NAME,
    MAX_PATH,
    Refused,
    shown,
)
from banger.drivers.image.unpack.sparse import Piece


@dataclass(slots=True, eq=False)
class Node:
    """A file, folder or anything else that has a name, or several.

    ``layer`` is the number of the layer that touched it last. ``source`` is the number of the
    window that ``pieces`` lie in. ``links`` counts the names of what is no folder.
    """

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    layer: int = 0
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    source: int = 0
    pieces: tuple[Piece, ...] = ()
    capability: bytes = b""
    children: dict[bytes, Node] = field(default_factory=dict)
    links: int = 1


class Tree:
    """The tree of an image while its layers are put into it, lowest first."""

    def __init__(self) -> None:
        self.root = Node("folder", 0o755)
        #: The number of the layer that is being put in.
        self.layer = 0
        self._count = 0

    def find(self, path: bytes, *, follow: bool = False) -> Node | None:
        """What stands at a path; ``follow``: behind a link of that name, if it is one."""
        names = split(path)
        parent = self._walk(names[:-1], make=False)
        if not names or parent is None:
            return parent
        node = parent.children.get(names[-1])
        if node is not None and node.kind == "symlink" and follow:
            return self._walk(names, make=False)
        return node

    def folder(self, names: list[bytes]) -> Node:
        """The folder of this path, made where it is missing; links on the way are followed."""
        node = self._walk(names, make=True)
        if node is None or node.kind != "folder":
            raise Refused(f"{shown(b'/'.join(names))} is no folder, and has something in it")
        return node

    def put(self, path: bytes, node: Node) -> None:
        """Set a node in the place of what has its name; a folder keeps what is in it."""
        names = split(path)
        node.layer = self.layer
        if not names:
            if node.kind != "folder":
                raise Refused("the root is no folder")
            node.children = self.root.children
            self.root = node
            return
        parent = self.folder(names[:-1])
        older = parent.children.get(names[-1])
        if older is not None and node.kind == "folder" and older.kind == "folder":
            node.children = older.children
        elif older is not None:
            _unname(older)
        self._counted()
        parent.children[names[-1]] = node

    def link(self, path: bytes, target: bytes) -> None:
        """Another name for what stands at ``target`` already."""
        names = split(path)
        node = self.find(target)
        if not names or node is None or node.kind == "folder":
            raise Refused(
                f"the hard link {shown(path)} leads to {shown(target)}, which is no file before it"
            )
        parent = self.folder(names[:-1])
        older = parent.children.get(names[-1])
        if older is node:
            return
        if node.links >= MAX_HARD_LINKS:
            raise Refused(f"{shown(target)} has more than {MAX_HARD_LINKS} names")
        if older is not None:
            _unname(older)
        self._counted()
        node.links += 1
        node.layer = self.layer
        parent.children[names[-1]] = node

    def drop(self, name: bytes) -> None:
        """Remove what stands at the top under this name, whatever layer it is of."""
        node = self.root.children.pop(name, None)
        if node is not None:
            _unname(node)

    def hide(self, path: bytes) -> None:
        """A whiteout: what lower layers have there is not in the image."""
        names = split(path)
        parent = self._walk(names[:-1], make=False)
        if parent is not None and parent.kind == "folder":
            _prune(parent, [names[-1]], self.layer)

    def hide_content(self, path: bytes) -> None:
        """An opaque whiteout: of lower layers, nothing in this folder is in the image."""
        node = self._walk(split(path), make=False)
        if node is not None and node.kind == "folder":
            _prune(node, list(node.children), self.layer)

    def _walk(self, names: list[bytes], *, make: bool) -> Node | None:
        """The node of a path, links followed; ``None`` if something on the way is missing."""
        stack = [self.root]
        rest = list(reversed(names))
        followed = 0
        while rest:
            name = rest.pop()
            if name == b"..":  # of a link's target; above the root is the root
                if len(stack) > 1:
                    stack.pop()
                continue
            if stack[-1].kind != "folder":
                return None
            node = stack[-1].children.get(name)
            if node is None:
                if not make:
                    return None
                self._counted()
                node = Node("folder", 0o755, layer=self.layer)
                stack[-1].children[name] = node
            if node.kind != "symlink":
                stack.append(node)
                continue
            followed += 1
            if followed > MAX_LINKS_FOLLOWED:
                raise Refused(f"{shown(b'/'.join(names))} leads through too many links")
            if node.target.startswith(b"/"):
                del stack[1:]
            rest += [part for part in reversed(node.target.split(b"/")) if part not in (b"", b".")]
        return stack[-1]

    def _counted(self) -> None:
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise Refused(f"it has more than {MAX_ENTRIES} entries")


def split(path: bytes) -> list[bytes]:
    """The names in a path. Raises ``Refused`` for one that leads up or is too long."""
    if len(path) > MAX_PATH:
        raise Refused(f"the path {shown(path)} has {len(path)} bytes")
    if not path:
        raise Refused("an entry has no name")
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    for name in names:
        if name == b"..":
            raise Refused(f"the path {shown(path)} leads up")
        if len(name) > MAX_NAME:
            raise Refused(f"the name {shown(name)} has {len(name)} bytes")
    return names


def _unname(node: Node) -> None:
    """A name of it is gone; for a folder, those of all in it too."""
    rest = [node]
    while rest:
        node = rest.pop()
        node.links -= 1
        rest += node.children.values()


def _prune(parent: Node, names: list[bytes], layer: int) -> None:
    """Remove what lower layers have; a folder stays if this layer has something in it."""
    order = [(parent, name) for name in names]
    for folder, name in order:
        node = folder.children.get(name)
        if node is not None and node.kind == "folder":
            order += [(node, child) for child in node.children]
    for folder, name in reversed(order):
        node = folder.children.get(name)
        if node is None or node.layer == layer or node.children:
            continue
        del folder.children[name]
        node.links -= 1
