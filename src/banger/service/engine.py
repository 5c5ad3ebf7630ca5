"""Runs a plan step by step through the journal, undoes it on failure, finishes it on recovery."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Collection

from banger.errors import BangerError, Cancelled, Conflict, DeadlineExceeded, InternalError
from banger.model.operation import (
    Operation,
    OperationStatus,
    Presence,
    StepPhase,
    StepRecord,
)
from banger.service.context import Context
from banger.service.steps import Plan, Step

_log = logging.getLogger(__name__)


class Engine:
    """The only writer of step rows.

    ``abandoned`` is set when the daemon ends: cancelled work is then left exactly as it is,
    since start-up is recovery and a quick end is as good as a kill.
    """

    def __init__(
        self,
        context: Context,
        notice: Callable[[Operation], None],
        report: Callable[[str, str, float | None, str], None],
    ) -> None:
        self._context = context
        self._notice = notice
        self._report = report
        self.abandoned = False
        #: Operations under way.
        self._running = 0

    async def run(self, plan: Plan) -> Operation:
        """Do what is left of the plan; returns the ended operation.

        Steps that the journal calls done are skipped. Raises only when abandoned.
        """
        self._running += 1
        try:
            return await self._run(plan)
        finally:
            self._running -= 1

    async def _run(self, plan: Plan) -> Operation:
        steps = list(plan.steps())
        done = {r.position: r for r in self._steps_of(plan) if r.phase is StepPhase.DONE}
        for position, step in enumerate(steps):
            if position in done:
                plan.observed[step.name] = done[position].observed
                continue
            try:
                await self._do(plan, steps, position, done)
            except asyncio.CancelledError:
                if self.abandoned:
                    raise
                error: BangerError = Cancelled(
                    f"{plan.operation.kind} of {plan.operation.target_name} was cancelled"
                )
                return await self._fail(plan, steps, error, OperationStatus.CANCELLED)
            except DeadlineExceeded as late:
                if step.keeps_on_deadline:
                    return await self._end(plan, OperationStatus.FAILED, late, undone=False)
                return await self._fail(plan, steps, late, OperationStatus.FAILED)
            except BangerError as known:
                return await self._fail(plan, steps, known, OperationStatus.FAILED)
            except Exception as unknown:  # noqa: BLE001 - a defect must still be undone
                _log.exception("%s %s: step %s", plan.operation.kind, plan.operation.id, step.name)
                error = internal(plan.operation, unknown, str(self._context.paths.daemon_log))
                return await self._fail(plan, steps, error, OperationStatus.FAILED)
        return await self._end(plan, OperationStatus.SUCCEEDED, None, undone=False)

    def begin(self, plan: Plan) -> None:
        """Write the intent of the first step, in the transaction that admits the operation."""
        first = next(iter(plan.steps()), None)
        if first is not None:
            self._put(plan, 0, first, StepPhase.INTENT, {})
            plan.begun = 0

    async def recover(self, plan: Plan) -> Operation:
        """End an operation that a dead daemon left unfinished: forward or backward."""
        operation = plan.operation
        plan.resumed = True
        if operation.status is OperationStatus.RUNNING and plan.must_go_on():
            return await self.run(plan)
        error = Cancelled(
            f"{operation.kind} of {operation.target_name} was interrupted",
            cause="the daemon ended while it ran; what it had made was undone",
            resolution="run the same command again",
        )
        status = OperationStatus.CANCELLED
        if operation.error:
            from_before = BangerError(operation.error.get("brief", "failed"))
            _log.info("finishing the undo of %s: %s", operation.id, from_before)
        return await self._fail(plan, list(plan.steps()), error, status)

    async def _do(
        self, plan: Plan, steps: list[Step], position: int, done: Collection[int]
    ) -> None:
        step = steps[position]
        place = f"{plan.kind}.{step.name}"
        if plan.begun != position:
            self._journal(plan, position, step, StepPhase.INTENT, {})
        elif position == 0:
            self._tell(plan, 0, step, StepPhase.INTENT)
        if step.lingers():
            await plan.settle()
        await self._context.failpoints.reach(f"{place}.before")
        if step.probe() is Presence.FOREIGN:
            cause, resolution = step.obstacle()
            raise Conflict(
                f"cannot {step.title} for {plan.operation.target_name}",
                cause=cause,
                resolution=resolution,
            )

        if not step.traceless:
            # No effect that outlives a power cut without an intent that does, too.
            await self._context.database.durable(alone=self._running <= 1)
        report = functools.partial(self._report, plan.operation.id)
        observed = await step.apply(report)
        await self._context.failpoints.reach(f"{place}.after")
        plan.observed[step.name] = observed
        following = position + 1
        if following < len(steps) and following not in done:
            # In the same transaction: one wait for the disk between two steps.
            self._journal(
                plan, position, step, StepPhase.DONE, observed, following=steps[following]
            )
            plan.begun = following
        else:
            self._journal(plan, position, step, StepPhase.DONE, observed)

    def _journal(
        self,
        plan: Plan,
        position: int,
        step: Step,
        phase: StepPhase,
        observed: dict[str, object],
        *,
        following: Step | None = None,
    ) -> None:
        """Write one step's phase, and with it the intent of the ``following`` one if given."""
        told = [(position, step, phase)]
        with self._context.database.transaction(deferred=True):
            self._put(plan, position, step, phase, observed)
            if phase is StepPhase.DONE:
                step.commit(observed)
            if following is not None:
                told.append((position + 1, following, StepPhase.INTENT))
                self._put(plan, position + 1, following, StepPhase.INTENT, {})
        for number, each, reached in told:
            self._tell(plan, number, each, reached)

    def _put(
        self,
        plan: Plan,
        position: int,
        step: Step,
        phase: StepPhase,
        observed: dict[str, object],
    ) -> None:
        self._context.operations.put_step(
            StepRecord(plan.operation.id, position, step.name, phase, observed)
        )

    def _tell(self, plan: Plan, position: int, step: Step, phase: StepPhase) -> None:
        self._context.events.publish(
            "step",
            {
                "operation_id": plan.operation.id,
                "position": position,
                "name": step.name,
                "title": step.title,
                "phase": phase.value,
            },
        )

    async def _fail(
        self, plan: Plan, steps: list[Step], error: BangerError, status: OperationStatus
    ) -> Operation:
        """Undo every journalled step in reverse, shielded from further cancels."""
        undoing = asyncio.ensure_future(self._undo(plan, steps, error, status))
        while True:
            try:
                return await asyncio.shield(undoing)
            except asyncio.CancelledError:
                if self.abandoned:
                    undoing.cancel()
                    raise

    async def _undo(
        self, plan: Plan, steps: list[Step], error: BangerError, status: OperationStatus
    ) -> Operation:
        plan.operation = dataclasses.replace(
            plan.operation, status=OperationStatus.UNDOING, error=error.as_dict()
        )
        self._context.operations.update(plan.operation)
        self._notice(plan.operation)
        journal = {record.position: record for record in self._steps_of(plan)}
        for position in reversed(range(len(steps))):
            record = journal.get(position)
            if record is None or record.phase is StepPhase.UNDONE:
                continue
            step = steps[position]
            place = f"{plan.kind}.{step.name}.undo"
            try:
                await self._context.failpoints.reach(f"{place}.before")
                await step.undo()
                await self._context.failpoints.reach(f"{place}.after")
            except Exception:  # noqa: BLE001 - the rest must still be undone
                # The object is found again by its mark.
                _log.exception("undo of step %s of %s failed", step.name, plan.operation.id)
                continue
            self._journal(plan, position, step, StepPhase.UNDONE, record.observed)
        return await self._end(plan, status, error, undone=True)

    def _steps_of(self, plan: Plan) -> list[StepRecord]:
        return self._context.operations.steps(plan.operation.id)

    async def _end(
        self, plan: Plan, status: OperationStatus, error: BangerError | None, *, undone: bool
    ) -> Operation:
        context = self._context
        await context.failpoints.reach(f"{plan.kind}.end.before")
        with context.database.transaction():
            if error is None:
                result = plan.succeeded()
            else:
                plan.failed(error.as_dict(), undone=undone)
                result = {}
            plan.operation = dataclasses.replace(
                plan.operation,
                status=status,
                ended_at=time.time(),
                error=error.as_dict() if error else {},
                result=result,
            )
            context.operations.update(plan.operation)
        await context.failpoints.reach(f"{plan.kind}.end.after")
        try:
            await plan.settle()
        except Exception:  # noqa: BLE001 - the rows are right already
            _log.exception("settling %s failed; the next start does it", plan.operation.id)
        return plan.operation


def internal(operation: Operation, error: BaseException, log: str) -> InternalError:
    """What a user sees of a defect; the traceback is in the log."""
    return InternalError(
        f"{operation.kind} of {operation.target_name} failed inside banger",
        cause=f"{type(error).__name__}: {error}",
        resolution=f"see {log}, operation {operation.id}",
    )
