"""The cache of .deb files that builds share: takes in new ones and drops outdated ones."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from banger.host.files import explained

_KERNEL = re.compile(r"linux-image-[0-9][0-9.]*[^-]*(?:-\d+)?")
#: The end of the name of a file that is still being copied.
_HALF = ".new"
#: Seconds after which nobody can be copying it any more.
_ABANDONED = 3600
_FILE = re.compile(r"(?P<name>[^_]+)_(?P<version>[^_]+)_(?P<architecture>[^_]+)\.deb\Z")


def file_name(name: str, version: str, architecture: str) -> str:
    """The file apt stores a package in; a colon in the version is escaped."""
    return f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"


def parse_installed(listing: str) -> frozenset[str]:
    """The cache's file names of a list with ``NAME VERSION ARCHITECTURE`` in each line."""
    rows = (line.split() for line in listing.splitlines())
    return frozenset(file_name(*row) for row in rows if len(row) == 3)


def outdated(cached: Iterable[str], used: frozenset[str]) -> list[str]:
    """Cached files of packages that a build has just used in another version."""
    packages = {_package(name) for name in used} - {None}
    return sorted(name for name in cached if name not in used and _package(name) in packages)


def adopt(new: Path, cache: Path) -> None:
    """Move the files of the folder ``new`` into the cache, each at once."""
    with explained(f"fill the package cache {cache}"):
        for path in sorted(new.glob("*.deb")):
            if path.is_file() and not path.is_symlink():
                _move(path, cache / path.name)


def _move(source: Path, target: Path) -> None:
    # Another build may read the file meanwhile: a rename leaves the old one whole.
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = target.with_name(f".{target.name}{_HALF}")
        shutil.copyfile(source, temporary)
        temporary.replace(target)


def prune(cache: Path, used: frozenset[str]) -> None:
    """Remove from the cache what ``used`` replaces, and what a killed build left half copied."""
    with explained(f"tidy the package cache {cache}"):
        for name in outdated((path.name for path in cache.glob("*.deb")), used):
            (cache / name).unlink(missing_ok=True)
        for path in cache.glob(f".*{_HALF}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()


def _package(file: str) -> tuple[str, str] | None:
    match = _FILE.match(file)
    # A kernel's version is a part of its package's name.
    return (_KERNEL.sub("linux-image", match["name"]), match["architecture"]) if match else None
