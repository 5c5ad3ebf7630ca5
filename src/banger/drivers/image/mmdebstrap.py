"""Turns an image spec into the mmdebstrap command that makes its root tree as a tar."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from banger.drivers.image import hooks
from banger.drivers.image.overlay import EPOCH
from banger.host.command import Command

#: Documentation and translations are a fifth of a plain system, and the hardware database names
#: devices that no microVM has. Licences stay.
TRIM = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/lib/udev/hwdb.d/*",
    "path-exclude=/usr/lib/udev/hwdb.d/*",
)
#: As root, mmdebstrap mounts /proc, /sys and parts of /dev in the tree. In a mount namespace of
#: its own they end with it, whatever kills it, and nobody else ever sees them.
PRIVATE_MOUNTS = ("unshare", "--mount", "--propagation", "private", "--")
#: A build may wait for a slow archive, but not for ever. In seconds.
TIMEOUT = 3600.0


class Bootstrap(Struct, frozen=True):
    """One run of mmdebstrap. ``work`` holds the tree; ``sources`` and ``overlay`` are files.

    Without ``sources`` mmdebstrap takes Debian's official archives.
    ``on_demand`` are units that do not start at boot.
    ``mode`` is ``root`` or ``unshare``. ``prefix`` keeps its mounts out of the host's sight.
    """

    mode: str
    prefix: tuple[str, ...]
    suite: str
    packages: tuple[str, ...]
    kernels: tuple[str, ...]
    apt_options: tuple[str, ...]
    sources: Path | None
    overlay: Path
    debs: Path
    new_debs: Path
    work: Path
    on_demand: tuple[str, ...] = ()

    @property
    def tar(self) -> Path:
        """What the run leaves."""
        return self.work / "base.tar"


def build_command(plan: Bootstrap) -> Command:
    """The command; it prints every line that apt and dpkg print."""
    argv = [
        *plan.prefix,
        "mmdebstrap",
        f"--mode={plan.mode}",
        "--variant=minbase",
        "--format=tar",
        "--verbose",
        # Else the essential packages would be gone before the cache can take them.
        "--skip=essential/unlink",
        f"--include={','.join(plan.packages)}",
        *(f"--dpkgopt={option}" for option in (hooks.UNSAFE, *TRIM)),
        *(f"--aptopt={option}" for option in plan.apt_options),
        f"--setup-hook={hooks.PREPARE}",
        _special("setup", "sync-in", plan.debs, "/var/cache/apt/archives"),
        f"--setup-hook={hooks.MARK}",
        f"--customize-hook={hooks.kernel_hook(plan.kernels)}",
        *([f"--customize-hook={hooks.disable_hook(plan.on_demand)}"] if plan.on_demand else []),
        f"--customize-hook={hooks.tidy_hook()}",
        _special("customize", "tar-in", plan.overlay, "/"),
        _special("customize", "sync-out", f"/{hooks.DEBS}", plan.new_debs),
        f"--customize-hook={hooks.FORGET_DEBS}",
        plan.suite,
        str(plan.tar),
        *([str(plan.sources)] if plan.sources else []),
    ]
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": str(plan.work)}
    return Command(tuple(argv), env=environment, timeout=TIMEOUT, package="mmdebstrap")


def _special(hook: str, verb: str, *paths: Path | str) -> str:
    words: Sequence[str] = [verb, *map(str, paths)]
    return f"--{hook}-hook={shlex.join(words)}"
