"""Where packages come from: the Debian archives of a suite that the host itself uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct, structs

from banger.errors import InvalidInput

_SUITE = re.compile(r"[a-z][a-z0-9.-]{0,40}\Z")
#: Only Debian has these; an archive with any other component is somebody else's.
_COMPONENTS = frozenset({"main", "contrib", "non-free", "non-free-firmware"})
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>\S.*)")


class Source(Struct, frozen=True):
    """One archive entry of sources.list(5). ``signed_by`` is a path or a whole key, as written."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False
    architectures: tuple[str, ...] = ()


def check_suite(suite: str) -> str:
    """Return the suite if it can be the name of one, else raise ``InvalidInput``."""
    if not _SUITE.match(suite):
        raise InvalidInput(
            f"the suite {suite[:60]!r} is not a name that a Debian release can have",
            cause="it has other characters than a-z, 0-9, '.' and '-'",
            resolution="choose a suite such as bookworm",
        )
    return suite


def parse_one_line(text: str) -> list[Source]:
    """The ``deb`` entries of a ``.list`` file; other and malformed lines are passed over."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match is None:
            continue
        words = match["rest"].split()
        if len(words) < 2:
            continue
        options = dict(_option(word) for word in (match["options"] or "").split())
        found.append(
            Source(
                uris=(words[0],),
                suites=(words[1],),
                components=tuple(words[2:]),
                signed_by=options.get("signed-by", ""),
                trusted=options.get("trusted", "").lower() == "yes",
                architectures=tuple(filter(None, options.get("arch", "").split(","))),
            )
        )
    return found


def parse_deb822(text: str) -> list[Source]:
    """The enabled ``deb`` stanzas of a ``.sources`` file."""
    found = []
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").strip().lower() in {"no", "false", "0"}:
            continue
        found.append(
            Source(
                uris=tuple(fields.get("uris", "").split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
                trusted=fields.get("trusted", "").strip().lower() == "yes",
                architectures=tuple(fields.get("architectures", "").split()),
            )
        )
    return found


def is_debian(source: Source) -> bool:
    """Whether every address looks like a copy of Debian's own archive.

    Suite names do not tell: other vendors name theirs after Debian's. The components and a
    path or host named after Debian do.
    """
    if not source.components or not _COMPONENTS.issuperset(source.components):
        return False
    return bool(source.uris) and all(map(_names_debian, source.uris))


def pick(sources: Iterable[Source], suite: str, architecture: str) -> list[Source]:
    """What of ``sources`` serves ``suite`` with its updates; empty if that makes no system.

    A host that has only updates of the suite, but not the suite, counts as having nothing.
    """
    wanted = _suites(suite)
    picked = []
    for source in sources:
        suites = tuple(name for name in source.suites if name in wanted)
        fits = not source.architectures or architecture in source.architectures
        if suites and fits and is_debian(source):
            picked.append(structs.replace(source, suites=suites))
    return picked if any(suite in source.suites for source in picked) else []


def render(sources: Sequence[Source]) -> str:
    """A ``.sources`` file (deb822)."""
    stanzas = []
    for source in sources:
        lines = [
            "Types: deb",
            f"URIs: {' '.join(source.uris)}",
            f"Suites: {' '.join(source.suites)}",
            f"Components: {' '.join(source.components)}",
        ]
        if source.signed_by:
            # A whole key begins on the next line, indented as it was.
            space = "" if source.signed_by.startswith("\n") else " "
            lines.append(f"Signed-By:{space}{source.signed_by}")
        if source.trusted:
            lines.append("Trusted: yes")
        stanzas.append("\n".join(lines) + "\n")
    return "\n".join(stanzas)


def read_host_sources(folder: Path) -> list[Source]:
    """All entries of the host's apt, in apt's order; ``folder`` is ``/etc/apt``."""
    found = []
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        # Unreadable files are an administrator's way to hide an entry that needs a password.
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path.suffix == ".list":
            found += parse_one_line(text)
        elif path.suffix == ".sources":
            found += parse_deb822(text)
    return found


def _suites(suite: str) -> frozenset[str]:
    # "/updates" was the security suite's name up to buster.
    return frozenset({suite, f"{suite}-updates", f"{suite}-security", f"{suite}/updates"})


def _names_debian(uri: str) -> bool:
    parts = urlsplit(uri)
    host = parts.hostname or ""
    segments = parts.path.strip("/").split("/")
    return host.endswith(".debian.org") or any(
        re.search(r"(^|[-_.])debian([-_.]|$)", segment) for segment in segments
    )


def _option(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name.rstrip("+-").lower(), value


def _fields(stanza: str) -> dict[str, str]:
    """Field name in lower case -> value; further lines keep their indentation."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in {" ", "\t"} and name:
            fields[name] += f"\n{line}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields
