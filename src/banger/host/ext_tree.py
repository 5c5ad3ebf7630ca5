"""Looks at and changes single files anywhere in an ext4 file system that nobody has mounted.

As ``ext_files``, whose rules hold here: the file system is untrusted, the programs see it alone.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct

from banger.errors import CorruptState
from banger.host.ext_files import ExtFiles, complaint

_TYPE = re.compile(r"^Inode: \d+ +Type: (\S.*?) +Mode: +([0-7]+) ")
_OWNER = re.compile(r"^User: +(\d+) +Group: +(\d+) ", re.MULTILINE)
#: Nothing that debugfs would take for more than one word.
_LINK = re.compile(r'^Fast link dest: "([A-Za-z0-9/._+-]+)"$', re.MULTILINE)
_FOLDER, _FILE, _SYMLINK = "directory", "regular", "symlink"
#: As many as the kernel follows in one path.
_MAX_LINKS = 40


class Entry(Struct, frozen=True):
    """What stands under a path. ``kind`` is debugfs' word.

    ``link`` is where a link leads, if its text is short and plain.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    link: str = ""

    @property
    def is_file(self) -> bool:
        return self.kind == _FILE

    @property
    def is_link(self) -> bool:
        return self.kind == _SYMLINK

    @property
    def is_folder(self) -> bool:
        return self.kind == _FOLDER


class Wanted(Struct, frozen=True):
    """A file or link as it shall be: what stands under ``entry``, with ``descriptor`` open on a
    file's content."""

    path: str
    entry: Entry
    descriptor: int = -1


class ExtTree(ExtFiles):
    """A whole file system; paths are absolute in it and made of plain characters."""

    def __init__(
        self,
        device: Path,
        journal: Path,
        run_as: tuple[int, int] | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        super().__init__(device, "", journal, run_as, read_only)

    async def look(self, path: str) -> Entry | None:
        """What stands there, ``None`` if nothing does; a link in the end is not followed."""
        with self._opened() as device:
            found = await self._run(device, "debugfs", "-R", f"stat {path}", device)
        return parse_entry(found.stdout.decode(errors="replace"))

    async def real_folder(self, path: str) -> str | None:
        """The folder ``path`` without links on the way; ``None`` if there is none.

        debugfs spoils a file system in which it removes or makes something behind a link. Raises
        ``CorruptState`` for links that lead in circles or have names that are not plain.
        """
        done, rest, links = "/", [part for part in path.split("/") if part], 0
        while rest:
            part = rest.pop(0)
            if part in (".", ".."):
                done = done if part == "." else str(PurePosixPath(done).parent)
                continue
            here = str(PurePosixPath(done) / part)
            entry = await self.look(here)
            if entry is None or not (entry.is_folder or entry.is_link):
                return None
            if entry.is_folder:
                done = here
                continue
            links += 1
            if links > _MAX_LINKS or not entry.link:
                raise CorruptState(
                    f"{path} in the file system {self.device} cannot be followed",
                    cause=f"the link {here} leads in circles or has an unusual name",
                    resolution=f"debugfs -R 'stat {here}' {self.device}",
                )
            done = "/" if entry.link.startswith("/") else done
            rest = [part for part in entry.link.split("/") if part] + rest
        return done

    async def content(self, path: str) -> bytes:
        """The content of a file that ``look`` has found."""
        with self._opened() as device:
            return (await self._run(device, "debugfs", "-R", f"cat {path}", device)).stdout

    async def change(self, remove: Sequence[str], make: Sequence[Wanted]) -> None:
        """Remove files and links, then make others, in the folders that ``real_folder`` gives.

        Raises ``HostNotReady`` when the file system is full, ``CorruptState`` where debugfs
        refuses it.
        """
        keep = tuple(each.descriptor for each in make if each.descriptor >= 0)
        with self._opened() as device, self._journalled():
            # They need not be there; making one that stayed fails below.
            await self._script(device, *(f"rm {path}" for path in remove))
            lines = [line for each in make for line in make_script(each)]
            if lines:
                done = await self._script(device, *lines, keep=keep)
                if problem := complaint(done.stderr.decode(errors="replace")):
                    raise self._refused(problem)

    async def remove_empty_folder(self, path: str) -> None:
        """Remove a folder unless something is in it."""
        with self._opened() as device:
            await self._script(device, f"rmdir {path}")


def parse_entry(text: str) -> Entry | None:
    """What debugfs' ``stat`` prints; ``None`` for anything else."""
    kind, owner = _TYPE.search(text), _OWNER.search(text)
    if kind is None or owner is None:
        return None
    link = _LINK.search(text)
    uid, gid = int(owner[1]), int(owner[2])
    return Entry(kind[1], int(kind[2], 8) & 0o7777, uid, gid, link[1] if link else "")


def make_script(wanted: Wanted) -> list[str]:
    """Lines for debugfs that make one file or link."""
    path = PurePosixPath(wanted.path)
    lines = [f"cd {path.parent}"]
    if wanted.descriptor < 0:
        return [*lines, f"symlink {path.name} {wanted.entry.link}"]
    return [
        *lines,
        f"write /proc/self/fd/{wanted.descriptor} {path.name}",
        f"sif {path.name} mode 0{stat.S_IFREG | wanted.entry.mode:o}",
        f"sif {path.name} uid {wanted.entry.uid}",
        f"sif {path.name} gid {wanted.entry.gid}",
    ]
