"""Turns files and folders of the host into a stream of tar bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from banger.client.tar_format import END, FILE, FOLDER, SYMLINK, Member, encode_member, padding
from banger.errors import InvalidInput

PIECE = 256 * 1024


class Packing:
    """The archive of one file or folder. ``skipped`` names what cannot be copied."""

    def __init__(self, source: str, name: str, on_bytes: Callable[[int], None] = lambda _: None):
        """``name`` is what the source is called in the archive; ``.`` gives its content only."""
        self._source = source
        self._name = name
        self._on_bytes = on_bytes
        self.skipped: list[str] = []

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the archive."""
        pending = [(Path(self._source), os.fsencode(self._name))]
        while pending:
            path, name = pending.pop()
            status = os.lstat(path)
            member = Member(name, FILE, stat.S_IMODE(status.st_mode), mtime=int(status.st_mtime))
            if stat.S_ISDIR(status.st_mode):
                if name != b".":
                    yield encode_member(member._replace(kind=FOLDER))
                inside = b"" if name == b"." else name + b"/"
                entries = sorted(path.iterdir(), reverse=True)
                pending += [(entry, inside + os.fsencode(entry.name)) for entry in entries]
            elif stat.S_ISREG(status.st_mode):
                yield from self._file(path, member)
            elif stat.S_ISLNK(status.st_mode):
                link = os.fsencode(path.readlink())
                yield encode_member(member._replace(kind=SYMLINK, link=link))
            else:
                self.skipped.append(str(path))
        yield END

    def _file(self, path: Path, member: Member) -> Iterator[bytes]:
        # The entry may have become a link or a pipe since it was looked at.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self.skipped.append(str(path))
                return
            yield encode_member(member._replace(size=status.st_size))
            left = status.st_size
            while left:
                piece = file.read(min(PIECE, left))
                if not piece:
                    raise InvalidInput(
                        f"{path} became shorter while it was copied",
                        cause="another program writes it",
                        resolution="copy it again when it is at rest",
                    )
                left -= len(piece)
                self._on_bytes(len(piece))
                yield piece
            yield padding(status.st_size)


def total_bytes(source: str) -> int:
    """The size of the files in ``source``, for a progress bar; what cannot be read counts 0."""
    status = os.lstat(source)
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    total = 0
    folders = [source]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total
