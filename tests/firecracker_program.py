"""The real Firecracker for tests: the installed one, else the pinned one, fetched once and kept."""

from __future__ import annotations

import functools
import os

from banger.errors import BangerError, HostNotReady
from banger.host.files import lock_file
from banger.host.firecracker_binary import FirecrackerBinary, fetch, find_firecracker
from tests.plugins.built_image import cache


@functools.cache
def firecracker_program() -> FirecrackerBinary:
    """Raises a banger error where there is none and none can be fetched."""
    folder = cache() / "firecracker"
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_file(folder.with_suffix(".lock"))
    try:
        try:
            return find_firecracker(folder)
        except BangerError:
            if lock is None:
                raise HostNotReady("another test run is fetching Firecracker") from None
            return fetch(folder)
    finally:
        if lock is not None:
            os.close(lock)


def why_not() -> str:
    """Why there is no Firecracker; empty where there is."""
    try:
        firecracker_program()
    except BangerError as error:
        return f"{error.brief}: {error.cause}"
    return ""
