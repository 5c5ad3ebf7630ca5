"""Says why a build failed, from the last lines that its programs printed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from banger.errors import BangerError, CommandFailed, HostNotReady, InvalidInput

_NO_PACKAGE = re.compile(
    r"Unable to locate package (\S+)|Package '?(\S+?)'? has no installation candidate"
)
_NO_RELEASE = re.compile(r"does not have a Release file|404\s+Not Found")
_NO_NETWORK = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Connection timed out"
    r"|Network is unreachable|Connection refused|Failed to fetch"
)
_NO_SPACE = re.compile(r"No space left on device|Could not allocate block in ext2 filesystem")
_NO_KEY = re.compile(r"NO_PUBKEY|is not signed|keyring.*(?:missing|not found)")
_FAULT = re.compile(r"(?:E|dpkg|dpkg-\w+|mke2fs|tar|depmod|rm|mv|unshare): ?\S")
#: mmdebstrap's own words for "something above failed".
_EMPTY = re.compile(r"E: (?:setup failed|mmdebstrap failed|apt-get |hookhelper|.* failed)")
#: How many lines at the end are looked at: mmdebstrap repeats a whole hook that failed.
TAIL_LINES = 200
_SHOWN_LINES = 60


def explain(
    image: str,
    suite: str,
    failure: CommandFailed,
    tail: Sequence[str],
    command: str = "banger image build",
) -> BangerError:
    """The error for the user, with the tail of the output as its details.

    ``command`` is what to try again at the end.
    """
    brief = f"the image {image} could not be built"
    text = "\n".join(tail)
    faults = [line for line in tail if _FAULT.match(line) and not _EMPTY.match(line)]
    # What comes after the fault is how others put up with it.
    end = tail.index(faults[0]) + 1 if faults else len(tail)
    details = "\n".join(tail[max(0, end - _SHOWN_LINES) : end]) or failure.details
    if match := _NO_PACKAGE.search(text):
        package = match[1] or match[2]
        return InvalidInput(
            brief,
            cause=f"{suite} has no package {package}",
            resolution="correct the package list, then build again",
            details=details,
        )
    if _NO_SPACE.search(text):
        return HostNotReady(
            brief,
            cause="the packages did not fit: the file system or the image's own size is full",
            resolution="free disk space or give a larger --size, then build again",
            details=details,
        )
    if _NO_KEY.search(text):
        return HostNotReady(
            brief,
            cause=f"the archive's signature for {suite} cannot be checked",
            resolution="sudo apt-get install debian-archive-keyring",
            details=details,
        )
    if match := _NO_RELEASE.search(text):
        return InvalidInput(
            brief,
            cause=f"the archive has no suite {suite}, or not all of it",
            resolution="choose another --suite, or sudo apt-get update and build again",
            details=details,
        )
    if _NO_NETWORK.search(text):
        return HostNotReady(
            brief,
            cause="the package archive cannot be reached",
            resolution="sudo apt-get update, until that works",
            details=details,
        )
    return CommandFailed(
        brief,
        cause=faults[0] if faults else failure.cause or failure.brief,
        resolution=f"{command}, or read the log of the operation",
        details=details,
    )
