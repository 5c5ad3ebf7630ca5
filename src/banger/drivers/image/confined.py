"""Runs the reader of foreign archives in a process that has as few rights as can be.

It is a Python of its own that gets nothing but the modules of ``unpack``, as an archive in memory,
and open descriptors. When we are root it is nobody, with no way back.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from banger.errors import BangerError, CommandFailed, InvalidInput
from banger.host.command import Command, run
from banger.host.ext_files import dropping, memory_file

#: Seconds for one pass over an archive of the largest size.
_TIMEOUT = 3600.0
_PACKAGE = "banger/drivers/image/unpack"
_START = "from banger.drivers.image.unpack.program import main\nmain()\n"
_PROGRESS, _RESULT, _REFUSED = "progress ", "result ", "refused "
#: Blobs in a layout folder; each is an open file.
_MAX_FILES = 500

#: Called with (fraction or None, what is being done).
Told = Callable[["float | None", str], None]


class Archive(Struct, frozen=True):
    """What is imported: one open file, or the files of a folder by their names in it."""

    path: Path
    descriptor: int = -1
    members: Mapping[str, int] = field(default_factory=dict)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that are open."""
        return tuple(fd for fd in (self.descriptor, *self.members.values()) if fd >= 0)


class Confined(Struct, frozen=True):
    """Runs ``unpack`` in the folder ``work``, as ``run_as`` if that is given.

    ``mark`` is an argument that tells what a killed daemon's import has left running.
    """

    archive: Archive
    work: Path
    log: Path
    mark: str
    run_as: tuple[int, int] | None

    async def call(
        self, verb: str, order: Mapping[str, object], told: Told, *, image: int = -1
    ) -> dict[str, Any]:
        """Carry out one order and return its result. Raises ``InvalidInput`` for a bad archive."""
        program = await memory_file("unpack", packed())
        kept = tuple(fd for fd in (program, image, *self.archive.descriptors) if fd >= 0)
        text = json.dumps(
            {
                "verb": verb,
                "archive": self.archive.descriptor,
                "members": dict(self.archive.members),
                "image": image,
                **order,
            }
        )
        last: list[str] = []
        python = os.path.realpath(sys.executable)
        try:
            await run(
                Command(
                    (
                        *dropping(self.run_as),
                        python,
                        "-I",
                        "-S",
                        "-B",
                        f"/proc/self/fd/{program}",
                        self.mark,
                    ),
                    stdin=text.encode(),
                    timeout=_TIMEOUT,
                    cwd=self.work,
                    package="util-linux",
                    descriptors=kept,
                ),
                on_line=lambda line: _take(line, last, told),
                log=self.log,
            )
        except CommandFailed as error:
            raise _broken(self.archive.path, error) from error
        finally:
            os.close(program)
        line = last[-1] if last else ""
        if line.startswith(_REFUSED):
            raise refusal(self.archive.path, json.loads(line.removeprefix(_REFUSED)))
        result: dict[str, Any] = json.loads(line.removeprefix(_RESULT))
        return result

    async def unzstd(self, source: str, target: str, limit: int) -> None:
        """Unpack a file of the work folder with the program for it, at most to ``limit`` bytes."""
        command = (
            *dropping(self.run_as),
            *("prlimit", f"--fsize={limit}", f"--as={2 * 1024**3}", "--core=0", "--"),
            *("zstd", "--decompress", "--quiet", "--no-progress", "--memory=128MB"),
            *("-o", target, source),
        )
        try:
            done = await run(
                Command(
                    command,
                    timeout=_TIMEOUT,
                    cwd=self.work,
                    package="zstd",
                    ok_statuses=(0, -signal.SIGXFSZ),
                ),
                log=self.log,
            )
        except CommandFailed as error:
            raise refusal(self.archive.path, f"zstd: {error.cause}") from error
        if done.status:
            raise refusal(self.archive.path, f"it unpacks to more than {limit} bytes")


def packed() -> bytes:
    """The modules of ``unpack`` as a program that Python runs."""
    buffer = io.BytesIO()
    folder = files("banger").joinpath("drivers", "image", "unpack")
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", _START)
        for level in ("banger", "banger/drivers", "banger/drivers/image"):
            archive.writestr(f"{level}/__init__.py", "")
        for module in sorted(folder.iterdir(), key=lambda module: module.name):
            if module.name.endswith(".py"):
                archive.writestr(f"{_PACKAGE}/{module.name}", module.read_bytes())
    return buffer.getvalue()


def refusal(path: Path, cause: str) -> InvalidInput:
    """The error for an archive that is not taken."""
    return InvalidInput(
        f"{path} cannot be imported",
        cause=cause,
        resolution="make it anew: docker save IMAGE -o FILE, or skopeo copy ... oci-archive:FILE",
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive or layout folder at ``path``. Raises ``InvalidInput``."""
    with contextlib.ExitStack() as stack:

        def take(name: Path, folder: int | None = None) -> int:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=folder)
            stack.callback(os.close, descriptor)
            return descriptor

        try:
            if path.is_dir():
                yield Archive(path, members=_layout(path, take))
            elif path.is_file():
                yield Archive(path, descriptor=take(path.resolve()))
            else:
                raise refusal(path, "it is neither a file nor a folder")
        except OSError as error:
            raise refusal(path, error.strerror or str(error)) from error


def _layout(path: Path, take: Callable[[Path], int]) -> dict[str, int]:
    """The files of an OCI layout folder: name -> descriptor."""
    blobs = path / "blobs" / "sha256"
    names = [path / "oci-layout", path / "index.json"]
    names += sorted(blobs.iterdir()) if blobs.is_dir() else []
    if len(names) > _MAX_FILES:
        raise refusal(path, f"it has {len(names)} blobs")
    found = {}
    for name in names:
        if name.is_symlink() or not name.is_file():
            raise refusal(path, f"{name.relative_to(path)} is missing or no regular file")
        found[str(name.relative_to(path))] = take(name)
    return found


def _take(line: str, last: list[str], told: Told) -> None:
    if line.startswith(_PROGRESS):
        fraction, text = json.loads(line.removeprefix(_PROGRESS))
        told(fraction if fraction >= 0 else None, text)
    elif line.startswith((_RESULT, _REFUSED)):
        last.append(line)


def _broken(path: Path, error: CommandFailed) -> BangerError:
    return BangerError(
        f"{path} could not be read",
        cause=f"the reader ended: {error.cause}",
        resolution="banger daemon logs",
        details=error.details or "",
    )
