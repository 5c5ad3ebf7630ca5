"""The cache of .deb files that builds share: each is verified before use, outdated ones go.

apt checks what it downloads, but takes a file that is already there by its name and size. So
the digests are kept beside the folder, and what does not agree with them is thrown away.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from banger.host.files import explained, write_atomic

#: The end of the name of a file that is still being copied.
_HALF = ".new"
#: Seconds after which nobody can be copying it any more.
_ABANDONED = 3600
_FILE = re.compile(r"(?P<name>[^_]+)_(?P<version>[^_]+)_(?P<architecture>[^_]+)\.deb\Z")
#: A kernel's version is a part of its package's name.
_KERNEL = re.compile(r"linux-image-[0-9][0-9.]*[^-]*(?:-\d+)?")


def file_name(name: str, version: str, architecture: str) -> str:
    """The file apt stores a package in; a colon in the version is escaped."""
    return f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"


def parse_installed(listing: str) -> frozenset[str]:
    """The cache's file names of a list with ``NAME VERSION ARCHITECTURE`` in each line."""
    rows = (line.split() for line in listing.splitlines())
    return frozenset(file_name(*row) for row in rows if len(row) == 3)


def parse_digests(text: str) -> dict[str, str]:
    """File name -> digest, of lines as sha256sum(1) writes them; damaged lines are left out."""
    rows = (line.split() for line in text.splitlines())
    return {row[1]: row[0] for row in rows if len(row) == 2 and len(row[0]) == 64}


def outdated(cached: Iterable[str], used: frozenset[str]) -> list[str]:
    """Cached files of packages that a build has just used in another version."""
    packages = {_package(name) for name in used} - {None}
    return sorted(name for name in cached if name not in used and _package(name) in packages)


def verify(cache: Path) -> None:
    """Remove every file from the cache that is not the one that was put there."""
    with explained(f"verify the package cache {cache}"):
        digests = _read_digests(cache)
        for path in cache.glob("*.deb"):
            if path.is_symlink() or _digest(path) != digests.get(path.name):
                path.unlink(missing_ok=True)
        for path in cache.glob(f".*{_HALF}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()


def adopt(new: Path, cache: Path, used: frozenset[str]) -> None:
    """Move the files of the folder ``new`` into the cache; remove what ``used`` replaces."""
    with explained(f"fill the package cache {cache}"):
        fresh = {}
        for path in sorted(new.glob("*.deb")):
            if path.is_file() and not path.is_symlink():
                fresh[path.name] = _digest(path)
                _move(path, cache / path.name)
        for name in outdated((path.name for path in cache.glob("*.deb")), used):
            (cache / name).unlink(missing_ok=True)
        digests = {**_read_digests(cache), **fresh}
        kept = sorted(name for name in digests if (cache / name).exists())
        write_atomic(_manifest(cache), "".join(f"{digests[name]}  {name}\n" for name in kept))


def _manifest(cache: Path) -> Path:
    return cache.with_name(f"{cache.name}.sha256")


def _read_digests(cache: Path) -> dict[str, str]:
    try:
        return parse_digests(_manifest(cache).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _package(file: str) -> tuple[str, str] | None:
    match = _FILE.match(file)
    return (_KERNEL.sub("linux-image", match["name"]), match["architecture"]) if match else None
