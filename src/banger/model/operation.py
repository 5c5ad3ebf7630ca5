"""Operations: journalled work on a VM or an image, its steps, progress and events."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class OperationStatus(StrEnum):
    """How far an operation is. ``undone`` means: failed, and everything made was removed."""

    RUNNING = "running"
    UNDOING = "undoing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (OperationStatus.RUNNING, OperationStatus.UNDOING)


class StepPhase(StrEnum):
    """How far one step of an operation is, as journalled."""

    INTENT = "intent"
    DONE = "done"
    UNDONE = "undone"


class Presence(StrEnum):
    """What a step's ``probe`` found of the thing the step makes."""

    ABSENT = "absent"
    OURS = "ours"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One journalled step. ``observed`` is what the step saw of what it made (JSON values)."""

    operation_id: str
    position: int
    name: str
    phase: StepPhase
    observed: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``target_kind`` is ``vm`` or ``image``; times are Unix seconds."""

    id: str
    kind: str
    target_kind: str
    target_id: str
    target_name: str
    arguments: dict[str, object]
    status: OperationStatus
    boot_id: str
    created_at: float
    ended_at: float = 0.0
    error: dict[str, str] = field(default_factory=dict)
    result: dict[str, object] = field(default_factory=dict)
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. ``kind`` is ``vm``, ``image``, ``operation``, ``step`` or ``log``.

    ``data`` is the JSON view that goes out on the wire, ready to encode.
    """

    kind: str
    data: dict[str, object]
