"""Plans bound to one VM or image: the row they work on, and how they write it."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import msgspec

from banger.errors import NotFound
from banger.host.threads import in_thread
from banger.model.image import Image
from banger.model.lifecycle import ExitReason, VMState
from banger.model.operation import Operation
from banger.model.storage import Drive
from banger.model.vm import VM, Exit
from banger.service import record
from banger.service.context import Context
from banger.service.steps import Plan


class TargetPlan(Plan):
    """A plan that can be rebuilt from its journalled operation in any later daemon."""

    def __init__(self, context: Context, operation: Operation) -> None:
        self.context = context
        self.operation = operation
        self.observed = {}


class VMPlan(TargetPlan):
    """A plan on one VM."""

    #: The root drive, once this daemon made it ready: to ask again is a call of root's.
    root_drive: Drive | None = None

    def __init__(self, context: Context, operation: Operation) -> None:
        super().__init__(context, operation)
        self._written = 0

    @property
    def vm(self) -> VM:
        """The VM's row as it is now. Raises ``NotFound``."""
        vm = self.context.vms.get(self.operation.target_id)
        if vm is None:
            raise NotFound(f"no VM {self.operation.target_name}", cause="its row is gone")
        return vm

    def save(self, **changes: Any) -> VM:
        """Write changed fields of the row and tell listeners."""
        return self.context.change_vm(self.vm, **changes)

    def save_stopped(self, reason: ExitReason, detail: str = "", **changes: Any) -> VM:
        """Record that the VM no longer runs, and why."""
        return self.save(
            state=changes.pop("state", VMState.STOPPED),
            machine=None,
            last_exit=Exit(reason, time.time(), detail),
            **changes,
        )

    def save_as_before(self, follows: object, error: dict[str, str]) -> VM:
        """Record that a start which followed the end ``follows`` came to nothing."""
        cancelled = error["code"] == "cancelled"
        return self.save(
            state=VMState.STOPPED if cancelled else VMState.FAILED,
            machine=None,
            last_exit=msgspec.convert(follows, Exit),
            problem={} if cancelled else error,
        )

    async def settle(self) -> None:
        vm = self.context.vms.get(self.operation.target_id)
        if vm is not None and vm.generation != self._written:
            await in_thread(functools.partial(_write, self.context, vm))
            self._written = vm.generation


def _write(context: Context, vm: VM, _stopped: Callable[[], bool]) -> None:
    record.write_vm(context, vm)


class ImagePlan(TargetPlan):
    """A plan on one image."""

    @property
    def image(self) -> Image:
        """The image's row as it is now. Raises ``NotFound``."""
        image = self.context.images.get(self.operation.target_id)
        if image is None:
            raise NotFound(f"no image {self.operation.target_name}", cause="its row is gone")
        return image

    def save(self, **changes: Any) -> Image:
        image = self.image
        image = dataclasses.replace(image, generation=image.generation + 1, **changes)
        self.context.images.put(image)
        self.context.events.publish("image", image)
        return image
