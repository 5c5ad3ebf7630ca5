"""Debian's package archive as it stands now, by package lists of the tests' own.

A machine's own lists may be months old, or know a part of its sources alone: they name what is
gone, and lack what there is. The sources themselves, a proxy and keys are the machine's.
"""

from __future__ import annotations

import functools
import os
import re
import time
from pathlib import Path

from banger.drivers.image import sources
from tests.command import output
from tests.plugins.built_image import cache, lock

SUITE = "bookworm"
#: For so long (seconds) nobody asks the archive again whether the lists are its newest.
FRESH = 3600.0
_TIMEOUT = 300.0


def kernel_version(metapackage: str) -> str:
    """The version that a kernel's metapackage asks for today, as ``6.1.0-50-amd64``.

    May raise ``RuntimeError``: the archive has no such package, or does not answer.
    """
    shown = _run("apt-cache", "depends", metapackage)
    found = re.search(r"Depends: linux-image-(\S+)", shown)
    if found is None:
        raise RuntimeError(f"{metapackage} depends on no kernel:\n{shown}")
    return found[1]


def download(folder: Path, *packages: str) -> list[Path]:
    """Put the packages' files into ``folder``, which exists; returns them in the order given.

    May raise ``RuntimeError``.
    """
    _run("apt-get", "--quiet", "download", *packages, folder=folder)
    return [next(folder.glob(f"{package}_*.deb")) for package in packages]


def source_list() -> str:
    """The machine's own Debian archives as a ``.sources`` file; empty without one of ``SUITE``."""
    return sources.render(sources.pick(sources.read_host_sources(Path("/etc/apt")), SUITE, "amd64"))


def _run(program: str, *words: str, folder: Path | None = None) -> str:
    return output(program, *_options(), *words, folder=folder, timeout=_TIMEOUT)


@functools.cache
def _options() -> tuple[str, ...]:
    """The options that lead apt to the lists, which are fetched unless they are fresh."""
    top = cache() / "apt"
    (top / "lists/partial").mkdir(parents=True, exist_ok=True)
    text, listing, stamp = source_list(), top / "archive.sources", top / "fetched"
    settings = [f"Dir::State::Lists={top}/lists", f"Dir::Cache={top}", "Acquire::Languages=none"]
    settings.append("APT::Sandbox::User=root")  # the folder may be closed to others
    if text:
        settings += [f"Dir::Etc::SourceList={listing}", "Dir::Etc::SourceParts=-"]
    options = tuple(f"--option={setting}" for setting in settings)
    one_at_a_time = lock(top / "lock", wait=True)
    try:
        if not stamp.exists() or stamp.read_text() != text or _age(stamp) > FRESH:
            listing.write_text(text)
            # Else a list that did not come would be missing for as long as the others are fresh.
            update = ("--quiet", "update", "--error-on=any")
            output("apt-get", *options, *update, timeout=_TIMEOUT)
            stamp.write_text(text)
    finally:
        os.close(one_at_a_time)
    return options


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime
