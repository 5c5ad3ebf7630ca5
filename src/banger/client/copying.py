"""Copies files and folders between host and guest as ``cp -r`` would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from banger.client.archive import Unpacking
from banger.client.guest_shell import Finished, GuestShell
from banger.client.packing import Packing
from banger.errors import BangerError, CommandFailed, HostNotReady, InvalidInput, NotFound

#: Tells what a path in the guest is: kind, then where it really is, then its folder's kind.
_LOOK = (
    'k() { if [ -d "$1" ]; then echo folder; elif [ -e "$1" ]; then echo file;'
    ' else echo none; fi; }; k "$1"; readlink -f -- "$1" || echo; k "$(dirname -- "$1")"'
)
#: The most that the answer of ``_LOOK`` can be.
_MAX_LOOK = 16 * 1024
Progress = Callable[[int], None]


class GuestPath(NamedTuple):
    """What a path in the guest is: ``folder``, ``file`` or ``none``."""

    kind: str
    real: str
    parent_kind: str


class Copying:
    """Copies between this machine and the VM named ``vm``.

    ``many`` says that there are several sources, so that the target must be a folder.
    ``skipped`` collects what is neither a file nor a folder nor a link.
    """

    def __init__(self, shell: GuestShell, vm: str, *, many: bool, progress: Progress):
        self._shell = shell
        self._vm = vm
        self._many = many
        self._progress = progress
        self.skipped: list[str] = []

    def _look(self, path: str) -> GuestPath:
        """Ask the guest what ``path`` is; a relative path starts in root's home."""
        answer = bytearray()

        def take(read: Callable[[int], bytes]) -> None:
            while answer.count(b"\n") < 3 and len(answer) < _MAX_LOOK:
                answer.extend(read(1))

        done = self._shell.read(["sh", "-c", _LOOK, "sh", path], take)
        lines = os.fsdecode(bytes(answer)).split("\n")
        if done.status != 0 or len(lines) < 4:
            raise self._failed(f"{path} in {self._vm} cannot be looked at", done)
        return GuestPath(lines[0], lines[1], lines[2])

    def _failed(self, brief: str, done: Finished) -> BangerError:
        """The error of a command in the guest."""
        lines = done.errors.strip().splitlines()
        if done.status == 127:
            return HostNotReady(
                brief,
                cause="the guest lacks a program that copying needs (sh, tar)",
                resolution=f"banger exec {self._vm} -- apt-get install -y tar",
                details=done.errors,
            )
        return CommandFailed(
            brief,
            cause=lines[-1] if lines else f"the guest's command ended with status {done.status}",
            resolution=f"banger ssh {self._vm}",
            details="\n".join(lines[:-1]),
        )

    def to_guest(self, source: str, target: str) -> None:
        """Copy ``source`` of the host to ``target`` in the guest."""
        real, name = check_source(source)
        there = self._look(target)
        is_folder = Path(real).is_dir()
        pure = PurePosixPath(target)
        if there.kind == "folder":
            folder = target
        elif self._many or (target.endswith("/") and not is_folder):
            raise _no_folder(target, f"banger exec {self._vm} -- mkdir -p {target}")
        elif there.kind == "file" and is_folder:
            raise _file_in_the_way(f"{target} in {self._vm}", source)
        elif there.parent_kind != "folder":
            raise _no_folder(str(pure.parent), f"banger exec {self._vm} -- mkdir -p {pure.parent}")
        else:
            folder, name = str(pure.parent), pure.name
        packing = Packing(real, name, self._progress)
        done = self._shell.feed(["tar", "-xpf", "-", "-C", folder], packing.pieces())
        if done.status != 0:
            raise self._failed(f"{source} could not be copied to {target} in {self._vm}", done)
        self.skipped += packing.skipped

    def from_guest(self, source: str, target: str) -> None:
        """Copy ``source`` in the guest to ``target`` on the host."""
        there = self._look(source)
        if there.kind == "none":
            raise NotFound(
                f"there is no {source} in {self._vm}",
                cause="no such file or folder",
                resolution=f"banger exec {self._vm} -- ls -l {PurePosixPath(source).parent}",
            )
        if not there.real:
            raise CommandFailed(
                f"{source} in {self._vm} cannot be read",
                cause="its real path cannot be told",
                resolution=f"banger exec {self._vm} -- readlink -f {source}",
            )
        content_only = source.rstrip("/").endswith("/.") or source.rstrip("/") in (".", "")
        folder, name = self._target_folder(source, target, there.kind, content_only=content_only)
        real = PurePosixPath(there.real)
        where, what = (str(real), ".") if content_only else (str(real.parent), real.name)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

        def consume(read: Callable[[int], bytes]) -> None:
            unpacking = Unpacking(root, read, rename=name, on_bytes=self._progress)
            unpacking.run()
            self.skipped += unpacking.skipped

        try:
            done = self._shell.read(["tar", "-cf", "-", "-C", where, "--", what], consume)
        finally:
            os.close(root)
        if done.status != 0:
            raise self._failed(f"{source} in {self._vm} could not be read completely", done)

    def _target_folder(
        self, source: str, target: str, kind: str, *, content_only: bool
    ) -> tuple[str, str]:
        """The host's folder to unpack into, and the name there (empty: the content only)."""
        path = Path(target)
        if path.is_dir():
            pure = PurePosixPath(source)
            return target, "" if content_only else pure.name
        if self._many or (target.endswith("/") and kind != "folder"):
            raise _no_folder(target, f"mkdir -p {target}")
        if path.exists() and kind == "folder":
            raise _file_in_the_way(target, source)
        if not path.parent.is_dir():
            raise _no_folder(str(path.parent), f"mkdir -p {path.parent}")
        if content_only:
            path.mkdir()
            return target, ""
        return str(path.parent), path.name


def check_source(source: str) -> tuple[str, str]:
    """The real path of a source on the host, and what it is called where it is copied to."""
    path = Path(source)
    try:
        # The link itself may be what is named, its content is what is meant.
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise NotFound(
            f"{source} cannot be copied",
            cause=getattr(error, "strerror", None) or "there is no such file or folder",
            resolution=f"ls -l {source}",
        ) from None
    if source.rstrip("/").endswith("/.") or source.rstrip("/") in (".", ""):
        return str(real), "."
    return str(real), path.name if path.name not in ("..", "") else real.name


def _no_folder(path: str, resolution: str) -> NotFound:
    return NotFound(
        f"there is no folder {path}", cause="the target's folder must exist", resolution=resolution
    )


def _file_in_the_way(target: str, source: str) -> InvalidInput:
    return InvalidInput(
        f"{target} is a file",
        cause=f"{source} is a folder and cannot replace it",
        resolution="choose another target",
    )
