"""Writes an archive that an untrusted guest sent into a folder, and never outside it.

Every step from the folder down is opened without following links, so neither a link in the
archive nor one that lies there already leads away. Names with ``..`` and absolute names are
refused; devices, sockets and pipes are skipped; the bits that give a program its owner's
rights are dropped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NoReturn

from banger.client.tar_format import (
    FILE,
    FOLDER,
    HARDLINK,
    SYMLINK,
    MalformedArchive,
    Member,
    decode_members,
    padding,
)
from banger.errors import BangerError

PIECE = 256 * 1024
Parts = tuple[bytes, ...]
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeArchive(BangerError):
    """The archive tries to write outside the folder, or is malformed."""

    code = "unsafe_archive"


def _refuse(name: bytes, why: str) -> NoReturn:
    raise UnsafeArchive(
        f"the guest's archive was refused at {os.fsdecode(name)!r}",
        cause=why,
        resolution="copy the files one by one, and see who wrote them",
    )


class Unpacking:
    """Unpacks into the open folder ``root``; the caller keeps and closes the descriptor.

    With ``rename`` the archive holds one file or folder, which gets that name; without, its
    members land directly in ``root``. ``skipped`` names what was not unpacked.
    """

    def __init__(
        self,
        root: int,
        read: Callable[[int], bytes],
        *,
        rename: str = "",
        on_bytes: Callable[[int], None] = lambda _: None,
    ):
        self._root = root
        self._read = read
        self._rename = os.fsencode(rename)
        self._on_bytes = on_bytes
        self._top = b""
        self._files: set[Parts] = set()
        self._folders: list[tuple[Parts, Member]] = []
        self._cached: tuple[Parts, int] | None = None
        self.skipped: list[str] = []
        self.count = 0

    def run(self) -> None:
        """Unpack everything. Raises ``UnsafeArchive`` and ``OSError``."""
        try:
            for member in decode_members(self._read):
                self._one(member)
            for parts, member in reversed(self._folders):
                # Last, because a folder that may not be written could not be filled.
                self._finish_folder(parts, member)
        except MalformedArchive as error:
            _refuse(b"header", str(error))
        finally:
            self._forget()

    def _parts(self, name: bytes) -> Parts:
        """The path of a member inside the root, after everything that could lead out."""
        if name.startswith(b"/"):
            _refuse(name, "the name is absolute")
        parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
        if b".." in parts:
            _refuse(name, "the name leads out of the folder")
        if self._rename and parts:
            self._top = self._top or parts[0]
            if parts[0] != self._top:
                _refuse(name, "it is outside what was asked for")
            parts = (self._rename, *parts[1:])
        return parts

    def _one(self, member: Member) -> None:
        parts = self._parts(member.name)
        if not parts:
            self._discard(member.size)
            return
        if member.kind == FOLDER:
            self._folder(parts, member)
        elif member.kind == FILE:
            self._file(parts, member)
        elif member.kind == SYMLINK:
            parent = self._clear(parts)
            os.symlink(member.link, parts[-1], dir_fd=parent)
        elif member.kind == HARDLINK:
            self._hard_link(parts, member)
        else:
            self.skipped.append(os.fsdecode(member.name))
        if member.kind != FILE:
            self._discard(member.size)
        self.count += 1

    def _discard(self, size: int) -> None:
        left = size + len(padding(size))
        while left:
            left -= len(self._read(min(left, PIECE)))

    def _open_folder(self, parts: Parts) -> int:
        """A descriptor of the folder, opened step by step; kept until another is needed."""
        if self._cached is not None and self._cached[0] == parts:
            return self._cached[1]
        self._forget()
        descriptor = os.dup(self._root)
        try:
            for part in parts:
                following = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = following
        except OSError as error:
            os.close(descriptor)
            _refuse(b"/".join(parts), f"a folder on the way cannot be entered ({error.strerror})")
        self._cached = (parts, descriptor)
        return descriptor

    def _forget(self) -> None:
        if self._cached is not None:
            os.close(self._cached[1])
            self._cached = None

    def _clear(self, parts: Parts) -> int:
        """Remove what is in the way of a file or link; the descriptor of its folder."""
        parent = self._open_folder(parts[:-1])
        try:
            os.unlink(parts[-1], dir_fd=parent)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            _refuse(b"/".join(parts), "a folder of that name is in the way")
        return parent

    def _folder(self, parts: Parts, member: Member) -> None:
        parent = self._open_folder(parts[:-1])
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        except FileExistsError:
            found = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                _refuse(b"/".join(parts), "a file or link of that name is in the way")
        else:
            self._folders.append((parts, member))

    def _finish_folder(self, parts: Parts, member: Member) -> None:
        descriptor = self._open_folder(parts)
        os.fchmod(descriptor, member.mode & 0o777)
        _set_time(descriptor, member.mtime)

    def _file(self, parts: Parts, member: Member) -> None:
        parent = self._clear(parts)
        descriptor = os.open(parts[-1], _FILE_FLAGS, 0o600, dir_fd=parent)
        try:
            left = member.size
            while left:
                piece = self._read(min(left, PIECE))
                left -= len(piece)
                self._on_bytes(len(piece))
                while piece:
                    piece = piece[os.write(descriptor, piece) :]
            self._read(len(padding(member.size)))
            os.fchmod(descriptor, member.mode & 0o777)
            _set_time(descriptor, member.mtime)
        except BaseException:
            # Half a file must not be taken for a whole one.
            os.unlink(parts[-1], dir_fd=parent)
            raise
        finally:
            os.close(descriptor)
        self._files.add(parts)

    def _hard_link(self, parts: Parts, member: Member) -> None:
        source = self._parts(member.link)
        if source not in self._files:
            _refuse(member.name, "it is a hard link to something that is not in the archive")
        target = os.dup(self._clear(parts))
        try:
            os.link(
                source[-1],
                parts[-1],
                src_dir_fd=self._open_folder(source[:-1]),
                dst_dir_fd=target,
                follow_symlinks=False,
            )
        finally:
            os.close(target)


def _set_time(descriptor: int, mtime: int) -> None:
    try:
        os.utime(descriptor, (mtime, mtime))
    except (OSError, OverflowError):
        # A file system without such times is no reason to lose the content.
        return
