"""Runs by SSH what takes a guest down, which cuts the connection before there is a status."""

from __future__ import annotations

import time
from collections.abc import Sequence

from banger.client.client import BangerClient
from banger.client.terminal import run_ssh
from banger.client.waiting import wait_for
from banger.errors import BangerError

#: What OpenSSH ends with when the connection is lost.
_LOST = 255
#: Seconds in which a guest that goes down is down.
_PATIENCE = 90.0
_IN_ORDER = ("guest-shutdown", "guest-reboot")


def run_down(client: BangerClient, ref: str, argv: Sequence[str], *, stdin: bool = True) -> int:
    """The status of the command; 0 if it took the guest down as it should."""
    vm = client.vm(ref)
    status = run_ssh(argv, stdin=stdin)
    if status != _LOST:
        return status
    try:
        wait_for(client, vm, "stopped", time.monotonic() + _PATIENCE)
        last = client.vm(vm["id"])["last_exit"]
    except BangerError:
        return status
    return 0 if last is not None and last["reason"] in _IN_ORDER else status
