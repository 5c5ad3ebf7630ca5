"""Starts VMs again that shall always run, whatever ended them but a person."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from banger.errors import BangerError
from banger.model.lifecycle import ExitReason, VMState
from banger.model.operation import Operation, OperationStatus
from banger.model.vm import VM, Exit
from banger.service.context import Context
from banger.service.operations import OperationService

_log = logging.getLogger(__name__)
ALWAYS = "always"
#: Ends that somebody asked banger for, after which a VM stays as it is.
ASKED_FOR = frozenset({ExitReason.STOPPED, ExitReason.KILLED, ExitReason.START_FAILED})
#: Seconds before the second start in a row; each further pause is twice as long, up to the last.
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
#: A VM that ran for so many seconds has come up: the next end is the first of a row again.
CAME_UP = 60.0
#: Starts in a row that may fail before banger gives up.
MOST_FAILURES = 10
#: Starts at once: after the host's reboot all VMs are due together.
AT_ONCE = 2


class Starts(Protocol):
    """What of ``PowerService`` is needed."""

    async def start(
        self, reference: str, *, wait: bool, timeout: float, follows: Exit | None = None
    ) -> Operation: ...


def is_due(vm: VM) -> bool:
    """Whether ``vm`` ended by itself and shall run (pure)."""
    last = vm.last_exit
    return (
        vm.spec.restart == ALWAYS
        and vm.state in (VMState.STOPPED, VMState.FAILED)
        and last is not None
        and last.reason not in ASKED_FOR
        and last.at > vm.spec.restart_since
    )


def pause_before(number: int) -> float:
    """Seconds to wait before start ``number`` in a row, counted from 0 (pure)."""
    return 0.0 if number == 0 else min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(number - 1, 30))


class RestartPolicy:
    """Follows the event bus and starts what is due, ever more slowly what never comes up."""

    def __init__(self, context: Context, operations: OperationService, power: Starts) -> None:
        self._context = context
        self._operations = operations
        self._power = power
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._in_a_row: dict[str, int] = {}
        #: VM -> when it ended in a way that is not to be followed by a start any more.
        self._left: dict[str, float] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """For ever; what a former daemon did not come to is done first."""
        try:
            while True:
                with self._context.events.subscribe() as subscription:
                    for vm in self._context.vms.all():
                        self._look_at(vm)
                    while (event := await subscription.get()).kind != "lost":
                        if isinstance(event.subject, VM):
                            self._look_at(event.subject)
        finally:
            for task in self._tasks.values():
                task.cancel()

    def _look_at(self, vm: VM) -> None:
        if not is_due(vm) or vm.id in self._tasks or self._was_left(vm):
            return
        task = asyncio.create_task(self._bring_up(vm.id))
        self._tasks[vm.id] = task
        task.add_done_callback(lambda _done: self._tasks.pop(vm.id, None))

    def _was_left(self, vm: VM) -> bool:
        return vm.last_exit is not None and self._left.get(vm.id) == vm.last_exit.at

    async def _bring_up(self, vm_id: str) -> None:
        while True:
            while (busy := self._operations.busy_with(vm_id)) is not None:
                await self._operations.wait(busy.id)
            vm = self._context.vms.get(vm_id)
            if vm is None or not is_due(vm) or vm.last_exit is None:
                return
            if vm.last_exit.at - vm.started_at >= CAME_UP:
                self._in_a_row.pop(vm_id, None)
            number = self._in_a_row.get(vm_id, 0)
            await asyncio.sleep(pause_before(number))
            async with self._turns:
                # Whoever did something meanwhile has the word.
                if self._context.vms.get(vm_id) != vm or self._operations.busy_with(vm_id):
                    continue
                self._in_a_row[vm_id] = number + 1
                reason = vm.last_exit.reason.value
                _log.info("%s is started again (%s), number %d", vm.name, reason, number + 1)
                if await self._start(vm) or number + 1 >= MOST_FAILURES:
                    self._left[vm_id] = vm.last_exit.at
                    return

    async def _start(self, vm: VM) -> bool:
        """Whether that was all: it runs, or somebody said no."""
        timeout = self._context.settings.start_timeout
        try:
            begun = await self._power.start(vm.id, wait=True, timeout=timeout, follows=vm.last_exit)
            ended = await self._operations.wait(begun.id)
        except BangerError as error:
            _log.warning("%s cannot be started again: %s: %s", vm.name, error.brief, error.cause)
            return False
        if ended.status is OperationStatus.FAILED:
            _log.warning("%s was not started again: %s", vm.name, ended.error.get("brief"))
        current = self._context.vms.get(vm.id)
        up = current is not None and current.machine is not None
        return up or ended.status is not OperationStatus.FAILED
