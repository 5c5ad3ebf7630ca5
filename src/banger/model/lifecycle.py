"""VM states, the actions on a VM, and which action is legal in which state."""

from __future__ import annotations

from enum import StrEnum


class VMState(StrEnum):
    """Where a VM is in its life."""

    CREATING = "creating"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    DELETING = "deleting"
    FAILED = "failed"


class Action(StrEnum):
    """What a user can ask of a VM."""

    START = "start"
    STOP = "stop"
    KILL = "kill"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"
    DELETE = "delete"
    RENAME = "rename"
    CHANGE = "change"
    GROW = "grow the overlay of"
    CLONE = "clone"
    KEEP = "make an image of"
    REBUILD = "rebuild"
    ACCESS = "access"
    REACH = "change the network of"


class ExitReason(StrEnum):
    """Why a VM is no longer running."""

    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_REBOOT = "guest-reboot"
    GUEST_PANIC = "guest-panic"
    STOPPED = "stopped"
    KILLED = "killed"
    VMM_DIED = "vmm-died"
    HOST_REBOOT = "host-reboot"
    START_FAILED = "start-failed"


_S = VMState
LEGAL: dict[Action, frozenset[VMState]] = {
    Action.START: frozenset({_S.STOPPED, _S.FAILED}),
    Action.STOP: frozenset({_S.RUNNING, _S.PAUSED}),
    Action.KILL: frozenset({_S.RUNNING, _S.PAUSED, _S.STARTING, _S.STOPPING}),
    Action.RESTART: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPED}),
    Action.PAUSE: frozenset({_S.RUNNING}),
    Action.RESUME: frozenset({_S.PAUSED}),
    Action.DELETE: frozenset({_S.STOPPED, _S.FAILED}),
    Action.RENAME: frozenset({_S.STOPPED, _S.FAILED}),
    Action.CHANGE: frozenset({_S.STOPPED, _S.FAILED}),
    Action.GROW: frozenset({_S.STOPPED, _S.FAILED, _S.RUNNING, _S.PAUSED}),
    Action.CLONE: frozenset({_S.STOPPED, _S.FAILED}),
    Action.KEEP: frozenset({_S.STOPPED, _S.FAILED}),
    Action.REBUILD: frozenset({_S.STOPPED, _S.FAILED}),
    Action.ACCESS: frozenset({_S.RUNNING, _S.STARTING}),
    Action.REACH: frozenset({_S.STOPPED, _S.FAILED, _S.RUNNING, _S.PAUSED}),
}


def is_legal(action: Action, state: VMState) -> bool:
    """Whether ``action`` may begin while the VM is in ``state``."""
    return state in LEGAL[action]
