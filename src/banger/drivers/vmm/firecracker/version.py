"""Which Firecracker this is, and what differs between versions (pure)."""

from __future__ import annotations

import re
from typing import NamedTuple

from banger.errors import HostNotReady

#: The oldest whose API is the one that the driver speaks.
OLDEST = (1, 12)


class Version(NamedTuple):
    """The version of a Firecracker."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def max_devices(self) -> int:
        """Virtio devices on x86-64: one interrupt went to the clock device of 1.15."""
        return 17 if self >= (1, 15) else 18

    @property
    def boots_bzimage(self) -> bool:
        return self >= (1, 17)


def parse_version(text: str) -> Version:
    """The version in ``text`` ("Firecracker v1.12.1", "1.12.1"...). Raises ``HostNotReady``."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    version = Version(*map(int, found.groups())) if found else None
    if version is None or version < OLDEST:
        raise HostNotReady(
            f"this Firecracker cannot be used: {text.strip()[:100] or 'it tells no version'}",
            cause="banger needs {}.{} or newer".format(*OLDEST),
            resolution="install a newer Firecracker, then banger doctor",
        )
    return version
