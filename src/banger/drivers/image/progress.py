"""Reads mmdebstrap's, apt's and dpkg's lines and tells how far a build has come."""

from __future__ import annotations

import re

from msgspec import Struct

DOWNLOAD, UNPACK, CONFIGURE = "download", "unpack", "configure"
KERNEL, FILESYSTEM, CHECK = "kernel", "filesystem", "check"

_NEW = re.compile(r"\d+ upgraded, (?P<count>\d+) newly installed")
_NEED = re.compile(r"Need to get (?P<size>[\d.,]+ [kMG]?B)(?:/[\d.,]+ [kMG]?B)? of archives")
_GET = re.compile(r"Get:\d+ \S+ (?P<rest>.+)")
_UNPACKING = re.compile(r"Unpacking (?P<name>[a-z0-9][a-z0-9+.-]*)")
_SETTING_UP = re.compile(r"Setting up (?P<name>[a-z0-9][a-z0-9+.-]*)")
_KERNEL = re.compile(r"banger: (?P<text>(?:kernel|unpacking) .*)")
#: Lines of mmdebstrap itself that begin a phase, and how to say so.
_STARTS = {
    "I: running apt-get update": (DOWNLOAD, "package lists"),
    "I: downloading packages with apt": (DOWNLOAD, "the essential packages"),
    "I: extracting archives": (UNPACK, "the essential packages"),
    "I: installing essential packages": (CONFIGURE, "the essential packages"),
    "I: installing remaining packages": (DOWNLOAD, "the chosen packages"),
    "I: creating tarball": (FILESYSTEM, "packing the root tree"),
}


class Reading(Struct, frozen=True):
    """A phase, how much of it is done (0 to 1, None if that cannot be told) and a detail."""

    phase: str
    fraction: float | None
    detail: str


class ProgressReader:
    """Follows one build. Packages come in two rounds: the essential ones, then the rest."""

    def __init__(self) -> None:
        self._expected = 0
        self._got: set[str] = set()
        self._unpacked: set[str] = set()
        self._configured: set[str] = set()

    def feed(self, line: str) -> Reading | None:
        """What the line tells about progress, if anything."""
        for start, (phase, detail) in _STARTS.items():
            if line.startswith(start):
                return Reading(phase, None, detail)
        if match := _NEW.match(line):
            self._expected = int(match["count"])
            self._got, self._unpacked, self._configured = set(), set(), set()
            return None
        if match := _NEED.match(line):
            return Reading(DOWNLOAD, 0.0, f"{self._expected} packages, {match['size']}")
        if match := _GET.match(line):
            return self._download(match["rest"].split())
        if match := _UNPACKING.match(line):
            return self._count(UNPACK, self._unpacked, match["name"])
        if match := _SETTING_UP.match(line):
            return self._count(CONFIGURE, self._configured, match["name"])
        if match := _KERNEL.match(line):
            return Reading(KERNEL, None, match["text"])
        return None

    def _download(self, words: list[str]) -> Reading:
        # SUITE/COMPONENT ARCH NAME ARCH VERSION [SIZE] for a package, fewer words for an index.
        if len(words) < 5 or not self._expected:
            return Reading(DOWNLOAD, None, "package lists")
        return self._count(DOWNLOAD, self._got, words[2])

    def _count(self, phase: str, seen: set[str], name: str) -> Reading:
        seen.add(name)
        fraction = min(1.0, len(seen) / self._expected) if self._expected else None
        return Reading(phase, fraction, name)
