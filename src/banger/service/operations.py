"""Background work with an id: admits operations, runs their plans, waits, cancels, remembers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from msgspec import Struct

from banger.errors import Conflict, InvalidInput, NotFound
from banger.model.operation import Operation, OperationStatus, StepRecord
from banger.naming import is_id_prefix, new_id
from banger.service import plans
from banger.service.context import Context
from banger.service.engine import Engine
from banger.service.steps import Plan

_log = logging.getLogger(__name__)


class Progress(Struct, frozen=True):
    """What a running operation last reported."""

    title: str
    fraction: float | None
    detail: str


class Target(Struct, frozen=True):
    """What an operation works on; ``kind`` is ``vm`` or ``image``."""

    kind: str
    id: str
    name: str


class OperationService:
    """One running operation per target at a time; the journal keeps them all."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._engine = Engine(context, self._publish, self._report)
        self._active: dict[str, Operation] = {}
        self._tasks: dict[str, asyncio.Task[Operation]] = {}
        self._progress: dict[str, Progress] = {}

    def list(self, *, active_only: bool = False) -> Sequence[Operation]:
        """Newest last."""
        return self._context.operations.all(active_only=active_only)

    def get(self, reference: str) -> Operation:
        """By id or unique id prefix. Raises ``NotFound``."""
        found = self._context.operations.get(reference)
        if found is None and is_id_prefix(reference):
            matches = self._context.operations.by_id_prefix(reference)
            found = matches[0] if len(matches) == 1 else None
        if found is None:
            raise NotFound(f"no operation {reference}", resolution="banger operation list")
        return found

    def steps(self, operation_id: str) -> Sequence[StepRecord]:
        return self._context.operations.steps(operation_id)

    def titles(self, kind: str) -> dict[str, str]:
        """Step name -> title for a kind of operation."""
        plan = plans.PLANS.get(kind)
        return {step.name: step.title for step in plan.step_types} if plan else {}

    def progress(self, operation_id: str) -> Progress | None:
        return self._progress.get(operation_id)

    def busy_with(self, target_id: str) -> Operation | None:
        """The operation that runs on a target now."""
        return self._active.get(target_id)

    def known(self, idempotency_key: str) -> Operation | None:
        """The operation that an earlier request with the same key began."""
        if not idempotency_key:
            return None
        return self._context.operations.by_idempotency_key(idempotency_key)

    def admit(
        self,
        kind: str,
        target: Target,
        arguments: dict[str, object],
        *,
        reserve: Callable[[Operation], None] | None = None,
        idempotency_key: str = "",
    ) -> Operation:
        """Write the intent and start the work.

        ``reserve`` runs in the same transaction and may write rows and take resources; what
        it raises leaves nothing written. The same ``idempotency_key`` gives the same
        operation back. Raises ``Conflict`` when the target is busy.
        """
        known = self.known(idempotency_key)
        if known is not None:
            return known
        self._refuse_busy(target)
        for vm_id in plans.PLANS[kind].also_busy(arguments):
            other = self._context.vms.get(vm_id)
            self._refuse_busy(Target("vm", vm_id, other.name if other else vm_id))
        operation = Operation(
            id=new_id(),
            kind=kind,
            target_kind=target.kind,
            target_id=target.id,
            target_name=target.name,
            arguments=arguments,
            status=OperationStatus.RUNNING,
            boot_id=self._context.boot_id,
            created_at=time.time(),
            idempotency_key=idempotency_key,
        )
        with self._context.database.transaction():
            self._context.operations.insert(operation)
            if reserve is not None:
                reserve(operation)
            plan = plans.PLANS[kind](self._context, operation)
            self._engine.begin(plan)
        self._launch(plan, self._engine.run(plan))
        return operation

    def resume(self, operation: Operation) -> None:
        """Recover an operation of a dead daemon in the background."""
        plan_type = plans.PLANS.get(operation.kind)
        if plan_type is None:
            raise InvalidInput(f"no operation of kind {operation.kind} is known")
        plan = plan_type(self._context, operation)
        self._launch(plan, self._engine.recover(plan))

    async def wait(self, operation_id: str, *, timeout: float | None = None) -> Operation:
        """Return the operation when it has ended, or as it is after ``timeout`` seconds."""
        task = self._tasks.get(operation_id)
        if task is not None:
            await asyncio.wait([task], timeout=timeout)
        return self.get(operation_id)

    async def cancel(self, reference: str) -> Operation:
        """Ask an operation to stop; what it made is undone. Raises ``Conflict`` if it can't."""
        operation = self.get(reference)
        task = self._tasks.get(operation.id)
        if operation.status.ended or task is None:
            raise Conflict(
                f"operation {operation.id} has ended",
                cause=f"it is {operation.status.value}",
                resolution=f"banger operation show {operation.id}",
            )
        if not plans.PLANS[operation.kind].cancellable:
            raise Conflict(
                f"{operation.kind} of {operation.target_name} cannot be cancelled",
                cause="it only goes forward",
                resolution=f"banger operation wait {operation.id}",
            )
        task.cancel()
        return self.get(operation.id)

    async def preempt(self, target_id: str) -> None:
        """Cancel whatever runs on a target and wait until it has let go."""
        operation = self._active.get(target_id)
        if operation is None:
            return
        if plans.PLANS[operation.kind].cancellable:
            self._tasks[operation.id].cancel()
        await self.wait(operation.id)

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def abandon(self) -> None:
        """The daemon ends: drop everything as it is (recovery will finish it)."""
        self._engine.abandoned = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)

    def _refuse_busy(self, target: Target) -> None:
        busy = self._active.get(target.id)
        if busy is not None:
            raise Conflict(
                f"{target.kind} {target.name} is busy",
                cause=f"{busy.kind} (operation {busy.id}) is running on it",
                resolution=f"banger operation wait {busy.id}",
            )

    def _launch(self, plan: Plan, work: Coroutine[Any, Any, Operation]) -> None:
        operation = plan.operation
        for target_id in (operation.target_id, *plan.also_busy(operation.arguments)):
            self._active[target_id] = operation
        self._publish(operation)
        self._tasks[operation.id] = asyncio.create_task(self._follow(operation, work))

    async def _follow(self, operation: Operation, work: Awaitable[Operation]) -> Operation:
        try:
            ended = await work
        finally:
            for target_id in [key for key, value in self._active.items() if value is operation]:
                del self._active[target_id]
            self._tasks.pop(operation.id, None)
            self._progress.pop(operation.id, None)
        self._publish(ended)
        _log.info("%s %s %s: %s", ended.kind, ended.target_name, ended.id, ended.status.value)
        return ended

    def _report(self, operation_id: str, title: str, fraction: float | None, detail: str) -> None:
        self._progress[operation_id] = Progress(title, fraction, detail)
        self._context.events.publish(
            "log",
            {
                "operation_id": operation_id,
                "title": title,
                "fraction": fraction,
                "detail": detail,
            },
        )

    def _publish(self, operation: Operation) -> None:
        self._context.events.publish("operation", operation)
