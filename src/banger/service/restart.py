"""The plan that stops a VM in order and starts it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from banger.service.boot import BOOT_STEPS, StartPlan
from banger.service.halt import AskGuest, EndVMM, Release
from banger.service.steps import Direction, Step


class RestartPlan(StartPlan):
    """Forward: what was begun is finished, a failed start is undone as usual."""

    kind: ClassVar[str] = "vm.restart"
    direction: ClassVar[Direction] = Direction.FORWARD
    step_types: ClassVar[tuple[type[Step], ...]] = (AskGuest, EndVMM, Release, *BOOT_STEPS)

    def steps(self) -> Sequence[Step]:
        return [AskGuest(self), EndVMM(self), Release(self), *super().steps()]

    def must_go_on(self) -> bool:
        return True
