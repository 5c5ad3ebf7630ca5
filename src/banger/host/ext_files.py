"""Writes files into an ext4 file system that nobody has mounted, by debugfs and without root.

The file system is untrusted. It is opened here, once, and the programs that read it get the open
descriptor: they run as an ordinary user who may open nothing else of ours, and every path they
follow, absolute links included, stays inside the file system.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from banger.errors import BangerError, CommandFailed, CorruptState, HostNotReady
from banger.host.command import Command, Completed, find_program, run

_PACKAGE = "e2fsprogs"
#: e2fsck(8): errors were corrected; the second asks for a reboot, which nothing mounted needs.
_CORRECTED = (0, 1, 2, 3)
#: Seconds for one program on a file system that may have been made to keep it busy.
_TIMEOUT = 120.0
#: What a longer file is not read back after it was written, in bytes.
_READ_BACK = 8 * 1024 * 1024


class NewFile(Struct, frozen=True):
    """A file to write: its name, an open descriptor of its content, and its permissions."""

    name: str
    descriptor: int
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class ExtFiles:
    """One folder at the top of the file system in ``device``, a file or a block device.

    ``journal`` is a file that exists while the file system is being changed: when it is found,
    the last change was cut off and everything is checked first. ``run_as`` is the ``(uid, gid)``
    that the programs run as, ``None`` for this process's own. ``read_only``: of a file that others
    share nothing is changed, not even its owner; then ``run_as`` must have the right to read it.
    """

    device: Path
    folder: str
    journal: Path
    run_as: tuple[int, int] | None = None
    read_only: bool = False

    async def repair(self, *, whole: bool = False) -> None:
        """Replay the file system's journal, as its next mount would; check it if need be.

        ``whole``: check it in any case. Must come first: what is written before a replay is lost
        in it. Raises ``CorruptState``.
        """
        force = ("-f",) if whole or self.journal.exists() else ()
        with self._opened() as path:
            try:
                await self._run(path, "e2fsck", *force, "-p", path, statuses=_CORRECTED)
            except CommandFailed as error:
                raise CorruptState(
                    f"the file system in {self.device} is damaged",
                    cause=f"e2fsck: {error.cause}",
                    resolution=f"e2fsck -f {self.device}",
                    details=error.details or "",
                ) from error

    async def read(self, name: str) -> bytes:
        """The content of a file of the folder, empty if there is none."""
        with self._opened() as path:
            return await self._read(path, name)

    async def write(self, files: Sequence[NewFile], remove: Sequence[str] = ()) -> None:
        """Make the folder, root's alone, and write the files in place of any of the same name.

        ``remove`` names files that go first. Raises ``HostNotReady`` when the file system is
        full, ``CorruptState`` where debugfs refuses it.
        """
        with self._opened() as path, self._journalled():
            await self._make_folder(path)
            gone = remove_script(self.folder, [*remove, *(file.name for file in files)])
            # They need not be there; writing over one that stayed fails below.
            await self._script(path, *gone)
            descriptors = tuple(file.descriptor for file in files)
            done = await self._script(path, *write_script(self.folder, files), keep=descriptors)
            if problem := complaint(done.stderr.decode(errors="replace")):
                await self._script(path, *gone)
                raise self._refused(problem)
            for file in files:
                size = os.fstat(file.descriptor).st_size
                if size <= _READ_BACK and await self._read(path, file.name) != _content(file, size):
                    raise self._refused(f"{file.name} is not what was written")

    async def _make_folder(self, path: str) -> None:
        look = f"stat /{self.folder}"
        found = await self._script(path, look)
        # Making one that exists would spoil the file system (debugfs 1.47 writes its inode).
        if "File not found" in complaint(found.stderr.decode(errors="replace")):
            found = await self._script(path, f"mkdir /{self.folder}", look)
        if "Type: directory" not in found.text:
            # A link of this name would lead the names below it to files of the system.
            problem = complaint(found.stderr.decode(errors="replace"))
            raise self._refused(problem or f"/{self.folder} is no folder")

    async def _read(self, path: str, name: str) -> bytes:
        done = await self._run(path, "debugfs", "-R", f"cat /{self.folder}/{name}", path)
        return done.stdout

    async def _script(self, path: str, *lines: str, keep: tuple[int, ...] = ()) -> Completed:
        text = "".join(f"{line}\n" for line in lines).encode()
        return await self._run(path, "debugfs", "-w", "-f", "-", path, stdin=text, keep=keep)

    async def _run(
        self,
        path: str,
        *argv: str,
        stdin: bytes | None = None,
        keep: tuple[int, ...] = (),
        statuses: tuple[int, ...] = (0,),
    ) -> Completed:
        opened = int(path.rpartition("/")[2])
        program = str(find_program(argv[0], _PACKAGE))
        return await run(
            Command(
                (*dropping(self.run_as), program, *argv[1:]),
                stdin=stdin,
                timeout=_TIMEOUT,
                package="util-linux",
                ok_statuses=statuses,
                descriptors=(opened, *keep),
            )
        )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[str]:
        """A path to the device that only inheritors of its descriptor can use."""
        access = os.O_RDONLY if self.read_only else os.O_RDWR
        give_to = None if self.read_only else self.run_as
        try:
            opened = os.open(self.device, access | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise CorruptState(
                f"{self.device} cannot be opened",
                cause=error.strerror or str(error),
                resolution=f"ls -l {self.device}",
            ) from error
        try:
            before = os.fstat(opened)
            if give_to is not None:
                # Opening it anew through /proc asks for the rights of the file alone, not for
                # those of the folders above it.
                os.fchown(opened, *give_to)
            yield f"/proc/self/fd/{opened}"
            os.fsync(opened)
        finally:
            if give_to is not None:
                os.fchown(opened, before.st_uid, before.st_gid)
            os.close(opened)

    @contextlib.contextmanager
    def _journalled(self) -> Iterator[None]:
        self.journal.touch(mode=0o600)
        yield
        self.journal.unlink(missing_ok=True)

    def _refused(self, problem: str) -> BangerError:
        if "allocate" in problem or "No space" in problem or "no free" in problem.lower():
            return HostNotReady(
                f"the file system in {self.device} is full",
                cause=f"debugfs: {problem}",
                resolution="create the VM from a root file system with free space (resize2fs)",
            )
        return CorruptState(
            f"the file system in {self.device} cannot be written to",
            cause=f"debugfs: {problem}",
            resolution=f"e2fsck -f {self.device}",
        )


def dropping(run_as: tuple[int, int] | None) -> tuple[str, ...]:
    """What is put before a program so that it runs as an ordinary user, with no way back."""
    if run_as is None:
        return ()
    user, group = run_as
    return ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs")


def remove_script(folder: str, names: Sequence[str]) -> list[str]:
    """Lines for debugfs: the folder holds no files of these names."""
    return [f"rm /{folder}/{name}" for name in names]


def write_script(folder: str, files: Sequence[NewFile]) -> list[str]:
    """Lines for debugfs: the files as root's, with their permissions."""
    lines = [f"cd /{folder}", f"sif /{folder} mode 0{stat.S_IFDIR | 0o700:o}"]
    for file in files:
        lines.append(f"write /proc/self/fd/{file.descriptor} {file.name}")
        lines.append(f"sif {file.name} mode 0{stat.S_IFREG | file.mode:o}")
    return lines


def complaint(stderr: str) -> str:
    """The first line that debugfs complains with; empty if all went well.

    Its exit status says nothing of the commands of a script, and its first line is its version.
    """
    lines = [line.strip() for line in stderr.splitlines()]
    return next((line for line in lines if line and not line.startswith("debugfs ")), "")


def _content(file: NewFile, size: int) -> bytes:
    return os.pread(file.descriptor, size, 0)


async def memory_file(name: str, content: bytes) -> int:
    """A descriptor of a file in memory, which programs can open that inherit it."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    await asyncio.to_thread(_write_all, descriptor, content)
    return descriptor


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
