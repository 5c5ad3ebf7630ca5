"""How the programs that touch a tree of anybody's are started: with no right on the host."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from banger.drivers.image import inside, rootfs
from banger.errors import CommandFailed, HostNotReady
from banger.host.command import Command, find_program, run
from banger.host.files import explained

#: What an ordinary user enters a namespace of several ids with.
PROGRAMS = {"unshare": "util-linux", "newuidmap": "uidmap"}
#: Where this banger is, which the program finds by no path of its environment.
_SOURCE = str(Path(inside.__file__).parents[3])
_START = (
    f"import sys; sys.path.insert(0, {_SOURCE!r}); from {inside.__name__} import main;"
    " sys.exit(main(sys.argv[1:]))"
)
_PROGRAM = (sys.executable, "-P", "-B", "-c", _START)


class UserNamespace(Struct, frozen=True):
    """The way in for root, or for an ordinary user."""

    is_root: bool

    @property
    def enter(self) -> tuple[str, ...]:
        """The beginning of a command line; a verb of ``inside`` follows."""
        return (*_PROGRAM, "--map") if self.is_root else (*rootfs.NAMESPACE, *_PROGRAM)

    @property
    def programs(self) -> tuple[str, ...]:
        """The beginning of a command line for a program of the host's."""
        return (*self.enter, "run")

    def make_folder(self, path: Path) -> None:
        """A folder that belongs to the root of the namespace."""
        make_readable_folder(path)
        with explained(f"make the folder {path}"):
            if self.is_root:
                os.chown(path, inside.FIRST_ID, inside.FIRST_ID)

    @contextlib.contextmanager
    def lent(self, path: Path) -> Iterator[int]:
        """An open descriptor of a file of ours, which the namespace may open anew meanwhile."""
        with explained(f"open {path}"):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if self.is_root:
                os.fchown(descriptor, inside.FIRST_ID, inside.FIRST_ID)
            yield descriptor
        finally:
            if self.is_root:
                os.fchown(descriptor, os.geteuid(), os.getegid())
            os.close(descriptor)

    async def check(self) -> None:
        """Raises ``HostNotReady`` if this host lets nobody in."""
        if not self.is_root:
            for program, package in PROGRAMS.items():
                find_program(program, package)
        try:
            await run(Command((*self.programs, "true"), timeout=30))
        except CommandFailed as failure:
            cure = "sysctl user.max_user_namespaces, which must not be 0"
            if not self.is_root:
                cure = (
                    "sudo usermod --add-subuids 100000-165535"
                    " --add-subgids 100000-165535 $USER, or do it as root"
                )
            raise HostNotReady(
                "images cannot be customised here",
                cause=f"user namespaces are not allowed: {failure.cause}",
                resolution=cure,
                details=failure.details,
            ) from failure


def make_readable_folder(path: Path) -> None:
    """A folder of ours that the namespace can look into, whatever files are private by default."""
    with explained(f"make the folder {path}"):
        path.mkdir()
        path.chmod(0o755)


def write_readable(path: Path, text: str) -> None:
    """A file of ours that the namespace can read."""
    with explained(f"write {path}"):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
