"""The journal: rows of operations and their steps <-> model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from banger.model.operation import Operation, OperationStatus, StepPhase, StepRecord
from banger.store.database import Database
from banger.store.documents import dump, load

_COLUMNS = (
    "id, kind, target_kind, target_id, target_name, arguments, status, boot_id, "
    "created_at, ended_at, error, result, idempotency_key"
)
#: Ended operations beyond this many are forgotten, oldest first.
HISTORY_KEPT = 1000


class Operations:
    """The operation and step tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, operation: Operation) -> None:
        marks = ", ".join("?" * 13)
        with self._database.transaction() as connection:
            connection.execute(
                f"INSERT INTO operation ({_COLUMNS}) VALUES ({marks})", _row(operation)
            )

    def update(self, operation: Operation) -> None:
        """Write what may change: status, error, result, end, target name."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE operation SET status = ?, ended_at = ?, error = ?, result = ?, "
                "target_name = ? WHERE id = ?",
                (
                    operation.status.value,
                    operation.ended_at,
                    dump(operation.error),
                    dump(operation.result),
                    operation.target_name,
                    operation.id,
                ),
            )

    def get(self, operation_id: str) -> Operation | None:
        return next(self._select("WHERE id = ?", (operation_id,)), None)

    def by_idempotency_key(self, key: str) -> Operation | None:
        return next(self._select("WHERE idempotency_key = ?", (key,)), None)

    def by_id_prefix(self, prefix: str) -> list[Operation]:
        return list(self._select("WHERE id >= ? AND id < ? || 'g'", (prefix, prefix)))

    def all(self, *, active_only: bool = False) -> list[Operation]:
        """Newest last."""
        if active_only:
            return list(
                self._select("WHERE status IN ('running', 'undoing') ORDER BY created_at", ())
            )
        return list(self._select("ORDER BY created_at", ()))

    def put_step(self, record: StepRecord) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO step VALUES (?, ?, ?, ?, ?) ON CONFLICT (operation_id, position) "
                "DO UPDATE SET phase = excluded.phase, observed = excluded.observed",
                (
                    record.operation_id,
                    record.position,
                    record.name,
                    record.phase.value,
                    dump(record.observed),
                ),
            )

    def steps(self, operation_id: str) -> list[StepRecord]:
        rows = self._database.connection.execute(
            "SELECT operation_id, position, name, phase, observed FROM step "
            "WHERE operation_id = ? ORDER BY position",
            (operation_id,),
        )
        return [
            StepRecord(row[0], row[1], row[2], StepPhase(row[3]), load(row[4], dict[str, object]))
            for row in rows
        ]

    def forget_old(self) -> list[str]:
        """Drop ended operations beyond the history; returns their ids (their logs go too)."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT id FROM operation WHERE status NOT IN ('running', 'undoing') "
                "ORDER BY created_at DESC LIMIT -1 OFFSET ?",
                (HISTORY_KEPT,),
            ).fetchall()
            connection.executemany("DELETE FROM operation WHERE id = ?", rows)
        return [str(row[0]) for row in rows]

    def _select(self, clause: str, values: tuple[str, ...]) -> Iterator[Operation]:
        rows = self._database.connection.execute(
            f"SELECT {_COLUMNS} FROM operation {clause}", values
        )
        return map(_operation, rows)


def _row(operation: Operation) -> tuple[object, ...]:
    return (
        operation.id,
        operation.kind,
        operation.target_kind,
        operation.target_id,
        operation.target_name,
        dump(operation.arguments),
        operation.status.value,
        operation.boot_id,
        operation.created_at,
        operation.ended_at,
        dump(operation.error),
        dump(operation.result),
        operation.idempotency_key or None,
    )


def _operation(row: tuple[Any, ...]) -> Operation:
    return Operation(
        id=row[0],
        kind=row[1],
        target_kind=row[2],
        target_id=row[3],
        target_name=row[4],
        arguments=load(row[5], dict[str, object]),
        status=OperationStatus(row[6]),
        boot_id=row[7],
        created_at=row[8],
        ended_at=row[9],
        error=load(row[10], dict[str, str]),
        result=load(row[11], dict[str, object]),
        idempotency_key=row[12] or "",
    )
