"""Where the root side is installed, and whether nobody but root can change what lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from banger.privileged.sudoers import PREFIX, SUDOERS_FOLDER

PROGRAM_NAME = "banger-privileged"
#: Where Python puts compiled modules.
COMPILED = "__pycache__"
#: The longest file that belongs there, in bytes.
_LIMIT = 1024 * 1024


def program(prefix: Path = PREFIX) -> Path:
    """What sudo starts."""
    return prefix / PROGRAM_NAME


def rendered_program(prefix: Path = PREFIX) -> str:
    """The text of the program: a system Python without the user's or the site's modules."""
    return (
        "#!/usr/bin/python3 -IBS\n"
        "# Installed by banger setup. Does for a user of banger what only root can do.\n"
        "import sys\n"
        f"sys.path.insert(0, {str(prefix)!r})\n"
        "from banger.privileged.main import main\n"
        "sys.exit(main())\n"
    )


def unsafe(path: Path) -> str:
    """Why ``path`` might be changed by others than root; empty if it cannot be.

    Looks at the path itself and at every folder above it, none of which may be a link.
    """
    reasons = map(_unsafe_alone, (path, *path.parents))
    return next(filter(None, reasons), "")


def _unsafe_alone(place: Path) -> str:
    try:
        status = place.lstat()
    except OSError as error:
        return f"{place}: {error.strerror}"
    if stat.S_ISLNK(status.st_mode):
        return f"{place} is a link"
    if status.st_uid != 0:
        return f"{place} belongs to user {status.st_uid}, not to root"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{place} may be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        return f"{place} is neither a file nor a folder"
    return ""


def unsafe_folder(prefix: Path) -> str:
    """The same for everything in the folder: the first reason, empty if all is well."""
    return unsafe(prefix) or next(filter(None, map(_unsafe_alone, _below(prefix))), "")


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            yield Path(parent, name)


def differences(prefix: Path, wanted: Iterable[tuple[str, bytes]]) -> Iterator[str]:
    """What is missing, other or too much below ``prefix``, compared byte for byte."""
    expected = dict(wanted)
    for name, content in sorted(expected.items()):
        place = prefix / name
        try:
            with place.open("rb") as file:
                found = file.read(_LIMIT)
        except OSError as error:
            yield f"{place}: {error.strerror}"
            continue
        if found != content:
            yield f"{place} is not of this banger"
    for place in _below(prefix):
        if not place.is_dir() and _source_of(place.relative_to(prefix)) not in expected:
            yield f"{place} does not belong there"


def _source_of(name: Path) -> str:
    """The file whose text counts for ``name``: what Python compiled belongs to its source.

    The compiled form holds a digest of it and is not used for any other (PEP 552); what else is
    in there is as much root's as the source, and other Pythons could not make the same bytes.
    """
    if name.parent.name == COMPILED and name.suffix == ".pyc":
        return str(name.parent.parent / f"{name.name.partition('.')[0]}.py")
    return str(name)


def sudoers_problem(uid: int, expected: str, folder: Path = SUDOERS_FOLDER) -> str:
    """Why the user's line is not as it should be; empty if it is, byte for byte."""
    place = folder / f"banger-{uid}"
    reason = unsafe(place)
    if reason:
        return reason
    try:
        same = place.read_bytes() == expected.encode()
    except OSError as error:
        return f"{place}: {error.strerror}"
    return "" if same else f"{place} is not as banger writes it"
