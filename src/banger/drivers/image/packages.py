"""What is installed into an image: the asked-for packages and those no guest can do without."""

from __future__ import annotations

import re
from collections.abc import Iterable

from banger.errors import InvalidInput

#: No image boots, loads a module or can be reached without these.
ALWAYS = ("systemd-sysv", "kmod", "openssh-server")
#: Debian policy 5.6.7, and an architecture may follow. A final ``-`` is refused although legal:
#: apt reads it as "remove this package".
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](?::[a-z0-9]+)?\Z")


def install_list(packages: Iterable[str]) -> tuple[str, ...]:
    """The packages to install, in order and each once. Raises ``InvalidInput`` for a bad name."""
    return checked_list((*packages, *ALWAYS))


def checked_list(packages: Iterable[str]) -> tuple[str, ...]:
    """Packages, in order and each once. Raises ``InvalidInput`` for a bad name."""
    wanted = tuple(dict.fromkeys(packages))
    for name in wanted:
        if not _NAME.match(name):
            raise InvalidInput(
                f"{name[:80]!r} is not the name of a package",
                cause="a name has two or more of a-z, 0-9, '+', '-', '.', and no '-' at its end",
                resolution="correct the package list, then build again",
            )
    return wanted
