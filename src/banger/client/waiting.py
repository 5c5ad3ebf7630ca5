"""Waits until a VM answers or has stopped, across a restart of the daemon."""

from __future__ import annotations

import socket
import time
from typing import Literal

from banger.client.client import BangerClient
from banger.client.exec_stream import ExecStream
from banger.client.transport import NOT_THERE
from banger.client.views import VMView
from banger.errors import BangerError, Conflict, DeadlineExceeded, NoAgent, NotFound

Condition = Literal["ssh", "agent", "stopped"]

#: Seconds between two looks.
_PAUSE = 0.2
#: Seconds until an SSH server must have greeted; then another connection is tried.
_GREETING_TIMEOUT = 3.0
_GREETING = b"SSH-"
_ENDED = ("stopped", "failed")


def wait_for(
    client: BangerClient, vm: VMView, condition: Condition, deadline: float | None
) -> None:
    """Return when the VM is as wanted; ``deadline`` is on the monotonic clock.

    ``stopped`` holds for one that is deleted meanwhile too. Raises ``DeadlineExceeded``,
    ``Conflict`` for one that has stopped and shall answer, ``NoAgent`` where none can be.
    """
    began = time.monotonic()
    while True:
        try:
            if _holds(client, vm["id"], condition):
                return
        except NotFound:
            if condition == "stopped":
                return
            raise
        except NOT_THERE:
            # It was killed or replaced; the VM goes on.
            if client.revive is None:
                raise
            client.revive()
        if deadline is not None and time.monotonic() >= deadline:
            seconds = time.monotonic() - began
            raise DeadlineExceeded(
                f"{vm['name']} {_MISSING[condition]} within {seconds:.0f} s",
                cause=f"it is {client.vm(vm['id'])['state']}",
                resolution=f"banger logs {vm['name']}",
            )
        time.sleep(_PAUSE)


_MISSING: dict[Condition, str] = {
    "ssh": "did not answer by SSH",
    "agent": "has no agent that answers",
    "stopped": "did not stop",
}


def _holds(client: BangerClient, vm_id: str, condition: Condition) -> bool:
    vm = client.vm(vm_id)
    if condition == "stopped":
        return vm["state"] in _ENDED
    if vm["state"] in _ENDED:
        raise Conflict(
            f"{vm['name']} cannot be waited for",
            cause=f"it is {vm['state']}, and nobody starts it",
            resolution=f"banger start {vm['name']}",
        )
    if vm["state"] != "running":
        return False
    try:
        access = client.access(vm_id)
    except Conflict:
        return False  # it has just ended, which the next look tells
    if condition == "ssh":
        return _greeted(access["host"], access["port"])
    if not access["agent"]:
        raise NoAgent(
            f"{vm['name']} has no agent",
            cause=f"the VMM {vm['vmm']} has no way to one",
            resolution=f"banger wait {vm['name']} --for ssh",
        )
    return _agent_answers(client, vm_id)


def _greeted(host: str, port: int) -> bool:
    """Whether an SSH server greets: an open port alone may be the VMM's."""
    try:
        with socket.create_connection((host, port), timeout=_GREETING_TIMEOUT) as connection:
            return connection.recv(len(_GREETING), socket.MSG_WAITALL) == _GREETING
    except OSError:
        return False


def _agent_answers(client: BangerClient, vm_id: str) -> bool:
    try:
        return ExecStream(client, vm_id, ["true"], write=lambda _channel, _data: None).run() == 0
    except NOT_THERE:
        raise
    except BangerError:
        return False
