"""Makes a tree of files out of an ext file system, without mounting it.

It is meant to run where the tree is the whole world (``inside``): links in it lead nowhere else.
What the process may not make (device nodes, some attributes) is told, for somebody else to make.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import NamedTuple, TypedDict

from banger.drivers.image.ext4.attributes import attributes_of
from banger.drivers.image.ext4.volume import ROOT_INODE, Damaged, Inode, Volume

#: Ids from here on have no counterpart in a user namespace of the usual size.
MAX_ID = 65535
#: What mke2fs makes itself.
_OWN = b"/lost+found"


class Kept(TypedDict):
    """What could not be made: a device (``kind`` ``c`` or ``b``), or attributes (``kind`` ``x``).

    ``path`` and attributes are hexadecimal, for they may be any bytes.
    """

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    mtime: int
    attributes: dict[str, str]


class _Place(NamedTuple):
    path: bytes
    inode: Inode


class Extraction:
    """One run over a file system; ``kept`` is what was left to make."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        # A file system that says it holds more than it can must not fill ours.
        self._budget = volume.used_bytes + 1024 * volume.block_size
        self._first_names: dict[int, bytes] = {}
        self._seen: set[int] = set()
        self.kept: list[Kept] = []

    def everything(self) -> None:
        """All files, into the process's own root folder. Raises ``Damaged`` or ``OSError``."""
        self._folders(_Place(b"/", self._volume.inode(ROOT_INODE)), plain=False)

    def below(self, path: str) -> None:
        """The folders and plain files of one folder, as it would be found through links.

        Raises ``FileNotFoundError`` if there is none.
        """
        self._folders(_Place(b"/", self._find(path)), plain=True)

    def _find(self, path: str) -> Inode:
        inode, left = self._volume.inode(ROOT_INODE), os.fsencode(path).strip(b"/").split(b"/")
        above: list[Inode] = []
        for _ in range(100):
            if not left:
                return inode
            name = left.pop(0)
            if name in (b"", b"."):
                continue
            if name == b"..":
                inode = above.pop() if above else inode
                continue
            number = dict(self._volume.entries(inode)).get(name) if _is_folder(inode) else None
            if number is None:
                break
            found = self._volume.inode(number)
            if stat.S_ISLNK(found.mode):
                target = self._volume.link(found)
                left = target.split(b"/") + left
                if target.startswith(b"/"):
                    inode, above = self._volume.inode(ROOT_INODE), []
            else:
                above.append(inode)
                inode = found
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _folders(self, top: _Place, *, plain: bool) -> None:
        if not _is_folder(top.inode):
            raise Damaged("its root is no folder")
        waiting, done = [top], []
        while waiting:
            place = waiting.pop()
            if place.inode.number in self._seen:
                raise Damaged(f"the folder with inode {place.inode.number} is in two places")
            self._seen.add(place.inode.number)
            self._spend(place.inode.size)
            done.append(place)
            for name, number in self._volume.entries(place.inode):
                path = os.path.join(place.path, name)  # noqa: PTH118 - bytes, and thousands
                below = _Place(path, self._volume.inode(number))
                if _is_folder(below.inode):
                    if path != _OWN:
                        os.mkdir(path, 0o700)  # noqa: PTH102 - bytes
                        waiting.append(below)
                elif not plain or stat.S_ISREG(below.inode.mode):
                    self._make(below)
        # Last: what is made in a folder changes its time, and its owner may shut us out.
        for place in reversed(done):
            self._dress(place)

    def _make(self, place: _Place) -> None:
        inode, path = place.inode, place.path
        first = self._first_names.setdefault(inode.number, path)
        if first != path:
            if self._is_kept(inode):
                raise Damaged(f"the device with inode {inode.number} has two names")
            os.link(first, path, follow_symlinks=False)
            return
        if stat.S_ISREG(inode.mode):
            self._file(place)
        elif stat.S_ISLNK(inode.mode):
            os.symlink(self._volume.link(inode), path)  # noqa: PTH211 - bytes
        elif stat.S_ISFIFO(inode.mode):
            os.mkfifo(path)
        elif self._is_kept(inode):
            _check_ids(place)
            kind = "c" if stat.S_ISCHR(inode.mode) else "b"
            self.kept.append(_kept(place, kind, dict(attributes_of(self._volume, inode))))
            return
        elif stat.S_ISSOCK(inode.mode):
            # Of no use without the program that listened.
            del self._first_names[inode.number]
            return
        else:
            raise Damaged(f"inode {inode.number} is of no kind ({inode.mode:o})")
        self._dress(place)

    def _file(self, place: _Place) -> None:
        block_size = self._volume.block_size
        size = place.inode.size
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(place.path, flags, 0o600)
        try:
            os.ftruncate(descriptor, size)
            for run in self._volume.runs(place.inode):
                position = run.logical * block_size
                self._spend(run.length * block_size)
                for piece in self._volume.data(run.physical, run.length):
                    if position >= size:
                        break  # allocated in advance
                    _write(descriptor, piece[: size - position], position)
                    position += len(piece)
        finally:
            os.close(descriptor)

    def _dress(self, place: _Place) -> None:
        """Owner, attributes, permissions and time, in this order: each spoils those behind it."""
        inode, path = place.inode, place.path
        _check_ids(place)
        os.chown(path, inode.uid, inode.gid, follow_symlinks=False)
        refused = {}
        for name, value in attributes_of(self._volume, inode):
            try:
                os.setxattr(path, name, value, follow_symlinks=False)
            except OSError:
                refused[name] = value
        if refused:
            self.kept.append(_kept(place, "x", refused))
        if not stat.S_ISLNK(inode.mode):
            os.chmod(path, stat.S_IMODE(inode.mode))  # noqa: PTH101 - bytes
        with contextlib.suppress(OverflowError):
            os.utime(path, ns=(inode.mtime, inode.mtime), follow_symlinks=False)

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise Damaged("it holds more than it says is used")

    @staticmethod
    def _is_kept(inode: Inode) -> bool:
        return stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode)


def _check_ids(place: _Place) -> None:
    for number in (place.inode.uid, place.inode.gid):
        if number > MAX_ID:
            name = place.path.decode(errors="backslashreplace")[:200]
            raise Damaged(f"{name!r} belongs to the id {number}, and {MAX_ID} is the last one here")


def _is_folder(inode: Inode) -> bool:
    return stat.S_ISDIR(inode.mode)


def _kept(place: _Place, kind: str, attributes: dict[bytes, bytes]) -> Kept:
    inode = place.inode
    return Kept(
        path=place.path.hex(),
        kind=kind,
        major=inode.device[0],
        minor=inode.device[1],
        mode=inode.mode,
        uid=inode.uid,
        gid=inode.gid,
        mtime=max(0, inode.mtime // 10**9),
        attributes={name.hex(): value.hex() for name, value in attributes.items()},
    )


def _write(descriptor: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, position)
        view, position = view[done:], position + done
