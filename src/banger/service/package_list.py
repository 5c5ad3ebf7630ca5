"""The package list: the user's own where it exists, else the shipped one."""

from __future__ import annotations

import re
from importlib import resources

from banger.errors import InvalidInput
from banger.paths import Paths

#: Debian policy 5.6.7: package names; an architecture or release may follow.
#: A trailing "-" would tell apt to remove the package.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](?::[a-z0-9]+)?\Z")


def read(paths: Paths) -> str:
    """The text of the list that a build would use now."""
    if paths.packages.is_file():
        return paths.packages.read_text(encoding="utf-8")
    shipped = resources.files("banger").joinpath("guest_files", "packages.apt")
    return shipped.read_text(encoding="utf-8")


def parse(text: str) -> tuple[str, ...]:
    """The packages of a list: one a line, ``#`` begins a comment. Raises ``InvalidInput``."""
    packages: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        if not _PACKAGE.match(name):
            raise InvalidInput(
                f"line {number} of the package list is not a package name: {name!r:.80}",
                cause="a name has at least two of a-z, 0-9, '+', '-' and '.'",
                resolution="one package a line, # begins a comment",
            )
        if name not in packages:
            packages.append(name)
    if not packages:
        raise InvalidInput("the package list is empty", resolution="name at least one package")
    return tuple(packages)
