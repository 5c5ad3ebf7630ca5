"""The two ideas every operation is made of: a step with probe, apply and undo; a plan of steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import ClassVar

from banger.model.operation import Operation, Presence

#: Called inside a step with (title, fraction done or None, one line of detail).
Report = Callable[[str, "float | None", str], None]


class Direction(Enum):
    """Where recovery takes an operation that a dead daemon left unfinished."""

    BACKWARD = "backward"
    FORWARD = "forward"


class Step(ABC):
    """One journalled unit of work on the host.

    ``name`` is unique in its plan and part of failpoint names. ``apply`` must succeed when
    its effect is there already; ``undo`` must accept "already gone". Both may be called in
    another daemon than the one that wrote the intent, so all they need derives from the
    operation and the target's row.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    #: A deadline missed here leaves the earlier steps done: the guest runs, only slowly.
    keeps_on_deadline: ClassVar[bool] = False
    #: Nothing that ``undo`` would have to remove outlives a power cut, so that the step need not
    #: wait until its intent does. A daemon that is killed loses no intent in either case.
    traceless: ClassVar[bool] = False

    def lingers(self) -> bool:
        """Whether it may take so long that ``Plan.settle`` must not wait for its end."""
        return False

    def probe(self) -> Presence:
        """What of this step's effect exists now. ``OURS`` does not mean complete."""
        return Presence.ABSENT

    def obstacle(self) -> tuple[str, str]:
        """What ``FOREIGN`` means here: the cause to tell, and the command to type next."""
        return "something that is not banger's stands in its place", "banger doctor"

    @abstractmethod
    async def apply(self, report: Report) -> dict[str, object]:
        """Make the effect; returns what was observed (JSON values) for the journal."""

    def commit(self, observed: dict[str, object]) -> None:
        """Write rows in the same transaction that marks the step done."""

    async def undo(self) -> None:
        """Remove the effect."""


class Plan(ABC):
    """What one kind of operation does, as data.

    ``step_types`` lists the classes ``steps`` may return, so that the failpoints of a kind
    are known without running it.
    """

    kind: ClassVar[str]
    direction: ClassVar[Direction]
    step_types: ClassVar[tuple[type[Step], ...]]

    #: Whether a user may cancel it; what only goes forward says no.
    cancellable: ClassVar[bool] = True

    operation: Operation
    #: What each step that is done observed, by step name.
    observed: dict[str, dict[str, object]]
    #: The position of the step whose intent is written already: with the operation, or together
    #: with the end of the step before.
    begun: int = -1
    #: Another daemon, or an earlier life of this one, may have done some of it already.
    resumed: bool = False

    @classmethod
    def also_busy(cls, arguments: Mapping[str, object]) -> tuple[str, ...]:  # noqa: ARG003 - a plan on two VMs needs them
        """Ids of other objects that must stay as they are while it runs, by its arguments."""
        return ()

    @abstractmethod
    def steps(self) -> Sequence[Step]:
        """The steps in order, the same ones whenever the operation is rebuilt."""

    def must_go_on(self) -> bool:
        """Asked by recovery: finish forward after all (a start whose guest runs)."""
        return self.direction is Direction.FORWARD

    @abstractmethod
    def succeeded(self) -> dict[str, object]:
        """Final rows, written in the transaction that ends the operation; its result."""

    @abstractmethod
    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        """Final rows after a failure. ``undone`` tells whether the steps were undone."""

    async def settle(self) -> None:
        """Before a step that lingers and at the end: true up what derives from rows (vm.json)."""


def failpoint_names(plan: type[Plan]) -> list[str]:
    """Every failpoint of a kind of operation, from its registered steps."""
    names = []
    for step in plan.step_types:
        names += [f"{plan.kind}.{step.name}.{place}" for place in ("before", "after")]
        if plan.direction is Direction.BACKWARD:
            names += [f"{plan.kind}.{step.name}.undo.{place}" for place in ("before", "after")]
    return [*names, f"{plan.kind}.end.before", f"{plan.kind}.end.after"]
