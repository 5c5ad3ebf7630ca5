"""Which of the host's apt settings a build needs to reach the package archive."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LINE = re.compile(r'(?P<key>\S+) "(?P<value>.*)";\Z')
#: How to reach the archive, and how strict to be with its dates. Nothing else of the host's apt
#: configuration may leak into an image: hooks and pinning would make it another system.
_NEEDED = re.compile(
    r"""Acquire::(?:
        https?::(?:[^:]+::)?(?:Proxy(?:-Auto-Detect|AutoDetect)?|CA-?Info|CA-?Path|SslCert|SslKey)
        | https?::Proxy::[^:]+
        | https?::Timeout | Retries | ForceIPv[46]
        | Check-Valid-Until | Check-Date | Max-ValidTime
    )\Z""",
    re.VERBOSE | re.IGNORECASE,
)


def parse_options(dump: str) -> tuple[str, ...]:
    """The needed settings of ``apt-config dump``, each as ``KEY "VALUE"``."""
    found = []
    for line in dump.splitlines():
        match = _LINE.match(line)
        if match and match["value"] and _NEEDED.match(match["key"]):
            found.append(line.removesuffix(";"))
    return tuple(found)


def render_for_guest(options: Sequence[str]) -> str:
    """An apt configuration file for the image: dates as the host takes them, but no proxy.

    A guest reaches the network in another way than its host, and an image may be given away:
    addresses and passwords of proxies do not belong into it.
    """
    kept = [option for option in options if option.lower().startswith("acquire::check-")]
    return "".join(f"{option};\n" for option in kept)
