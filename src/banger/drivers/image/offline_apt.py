"""Fetches packages for a root tree with the host's apt, and installs them with the tree's own.

The two are apart because the tree's programs are untrusted: what has the network (the host's apt)
runs nothing of the tree and only reads a copy of its package database; what runs the tree's
scripts has no network, and finds what was fetched in a shared folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from banger.drivers.image.guest_root import SHARE
from banger.host.command import Command

#: Files of the shared folder.
HOST_CONF, GUEST_CONF, SOURCES, STATUS, PACKAGES = (
    "host.conf", "guest.conf", "banger.sources", "status", "packages",
)  # fmt: skip
ARCHIVES, LISTS = "archives", "lists"
_URI = re.compile(r"'[^']*' (?P<name>\S+\.deb) \d+ ")
#: In seconds; a build may wait for a slow archive, but not for ever.
TIMEOUT = 3600.0

#: Nothing of the host's or the tree's own apt configuration counts: hooks and pinning would make
#: the two see different packages.
_BOTH = """Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "@SHARE@/banger.sources";
Dir::State::lists "@SHARE@/lists";
Dir::Cache "@SHARE@/cache";
Dir::Cache::archives "@SHARE@/archives";
APT::Architecture "@ARCHITECTURE@";
APT::Architectures { "@ARCHITECTURE@"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dpkg::Use-Pty "false";
"""
_HOST = """Dir::State "@SHARE@/state";
Dir::State::status "@SHARE@/status";
Dir::Log "@SHARE@/log";
Debug::NoLocking "true";
"""
#: What is fetched was verified by the host's apt, by keys that the tree need not have.
_GUEST = """APT::Get::AllowUnauthenticated "true";
DPkg::Options { "--force-unsafe-io"; "--force-confold"; };
"""

#: Run in the tree: packages, then what belongs to them. ``$1`` is the kernel whose modules were put
#: in, or nothing; ``$2`` are units that are not to start at boot; packages follow.
INSTALL = f"""set -eu
kernel=$1 units=$2
shift 2
if [ $# -gt 0 ]; then
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\\nexit 101\\n' >$policy
        chmod 755 $policy
        made=1
    fi
    apt-get --yes --no-download install "$@"
    [ -z "$made" ] || rm $policy
    for unit in $units; do
        find /etc/systemd/system -path "*.wants/$unit" -delete
    done
fi
if [ -n "$kernel" ]; then
    if command -v depmod >/dev/null; then
        depmod "$kernel"
    else
        echo "banger: no depmod here: modprobe will not find the modules of $kernel"
    fi
fi
if command -v dpkg-query >/dev/null; then
    dpkg-query --show --showformat '${{Package}}\\n' >{SHARE}/{PACKAGES}
fi
"""


class Share(Struct, frozen=True):
    """The shared folder, as the host sees it."""

    folder: Path

    @property
    def archives(self) -> Path:
        """Where the packages lie."""
        return self.folder / ARCHIVES


def render(template_of: str, share: str, architecture: str, options: Sequence[str] = ()) -> str:
    """An apt configuration file: ``host`` or ``guest``, for a share that is found at ``share``."""
    text = _BOTH + (_HOST if template_of == "host" else _GUEST)
    text = text.replace("@SHARE@", share).replace("@ARCHITECTURE@", architecture)
    return text + "".join(f"{option};\n" for option in options)


def folders() -> tuple[str, ...]:
    """The folders that both expect in the share."""
    return (
        f"{LISTS}/partial",
        f"{ARCHIVES}/partial",
        "cache",
        "state",
        "log",
    )


def update_command(enter: tuple[str, ...], share: Share) -> Command:
    """Fetch the lists of packages."""
    return _apt(enter, share, "update", "--error-on=any")


def names_command(enter: tuple[str, ...], share: Share, packages: Sequence[str]) -> Command:
    """Print what would have to be fetched."""
    return _apt(enter, share, "--yes", "--print-uris", "--quiet=2", "install", *packages)


def fetch_command(enter: tuple[str, ...], share: Share, packages: Sequence[str]) -> Command:
    """Fetch what is not there yet."""
    return _apt(enter, share, "--yes", "--download-only", "install", *packages)


def parse_names(text: str) -> tuple[str, ...]:
    """The file names in the answer to ``names_command``."""
    return tuple(match["name"] for line in text.splitlines() if (match := _URI.match(line)))


def _apt(enter: tuple[str, ...], share: Share, *words: str) -> Command:
    return Command(
        (*enter, "apt-get", *words),
        env={"APT_CONFIG": str(share.folder / HOST_CONF), "DEBIAN_FRONTEND": "noninteractive"},
        timeout=TIMEOUT,
        package="apt",
    )
