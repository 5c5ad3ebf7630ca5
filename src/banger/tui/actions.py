"""What can be done to VMs: when it is legal, how dangerous it is, and the command that does it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from banger.cli.vm_change import DELETABLE
from banger.cli.vm_power import KILL, PAUSE, RESTART, RESUME, START, STOP
from banger.client.client import BangerClient
from banger.client.views import OperationView, VMView

#: The states in which reach and names may change, those of ``banger.model.lifecycle``.
REACHABLE = ("stopped", "failed", "running", "paused")
LIVE = ("running", "paused", "starting", "stopping")


class Danger(IntEnum):
    """How much is asked before it is done, as on the command line."""

    NONE = 0
    #: One key.
    ASK = 1
    #: The name, or the word yes.
    TYPE = 2


class Act(NamedTuple):
    """``words`` are the command's, to be followed by names; ``states`` those it is legal in."""

    name: str
    title: str
    words: tuple[str, ...]
    states: tuple[str, ...]
    begin: Callable[[BangerClient, VMView], OperationView]
    danger: Danger = Danger.NONE
    #: What is lost by it, for the question.
    loss: str = ""


def _power(action: str, states: tuple[str, ...], words: tuple[str, ...] = ()) -> Act:
    def begin(client: BangerClient, vm: VMView) -> OperationView:
        return client.act(vm["id"], action)

    return Act(action, action, words or (action,), states, begin)


START_VM = _power("start", START.states)
STOP_VM = _power("stop", STOP.states)
RESTART_VM = _power("restart", RESTART.states)
PAUSE_VM = _power("pause", PAUSE.states, ("vm", "pause"))
RESUME_VM = _power("resume", RESUME.states, ("vm", "resume"))
KILL_VM = _power("kill", KILL.states)._replace(
    danger=Danger.ASK, loss="unsaved data of the guest is lost"
)
NAT_UP = Act(
    "nat-up", "NAT on", ("nat", "up"), REACHABLE, lambda client, vm: client.nat(vm["id"], up=True)
)
NAT_DOWN = Act(
    "nat-down", "NAT off", ("nat", "down"), REACHABLE,
    lambda client, vm: client.nat(vm["id"], up=False),
)  # fmt: skip
DELETE_VM = Act(
    "delete", "delete", ("rm",), DELETABLE,
    lambda client, vm: client.delete_vm(vm["id"], force=False), Danger.ASK,
    "its disks are deleted",
)  # fmt: skip
DELETE_LIVE_VM = Act(
    "delete", "delete", ("rm", "--force"), (*DELETABLE, *LIVE),
    lambda client, vm: client.delete_vm(vm["id"], force=True), Danger.TYPE,
    "it is killed, and its disks are deleted",
)  # fmt: skip


def power_act(vm: VMView) -> Act | None:
    """What the one key for power means for this VM."""
    return next((act for act in (START_VM, STOP_VM) if vm["state"] in act.states), None)


def pause_act(vm: VMView) -> Act | None:
    """Pause or resume, whichever is legal."""
    return next((act for act in (PAUSE_VM, RESUME_VM) if vm["state"] in act.states), None)


def nat_act(vm: VMView) -> Act | None:
    """NAT on or off, whichever would change something."""
    if vm["state"] not in REACHABLE:
        return None
    return NAT_DOWN if vm["nat"] else NAT_UP


def delete_act(vms: Sequence[VMView]) -> Act | None:
    """Deletion, with force if one of them runs; None while one is being made or deleted."""
    states = {vm["state"] for vm in vms}
    if not states or not states <= set(DELETE_LIVE_VM.states):
        return None
    return DELETE_VM if states <= set(DELETABLE) else DELETE_LIVE_VM


def danger_of(act: Act, count: int) -> Danger:
    """Several at once are asked for with the word yes if one alone is asked for at all."""
    return Danger.TYPE if count > 1 and act.danger is Danger.ASK else act.danger


def legal(act: Act, vms: Iterable[VMView]) -> list[VMView]:
    """Those of ``vms`` to which it may be done now."""
    return [vm for vm in vms if vm["state"] in act.states]


def command(words: Sequence[str], names: Iterable[str] = ()) -> str:
    """The command line of ``banger`` that does the same."""
    return shlex.join(["banger", *words, *names])
