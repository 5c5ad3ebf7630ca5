"""Rows of VMs <-> model."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from banger.errors import AlreadyExists, NotFound
from banger.model.lifecycle import VMState
from banger.model.network import Lease
from banger.model.vm import VM, Exit, Machine, VMSpec
from banger.store.database import Database
from banger.store.documents import dump, load

_COLUMNS = (
    "id, name, state, image_id, spec, lease, machine, last_exit, problem, "
    "created_at, started_at, generation"
)


class VMs:
    """The VM table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: What rows were decoded to, by VM: an operation reads its own dozens of times.
        self._decoded: dict[str, tuple[tuple[Any, ...], VM]] = {}

    def insert(self, vm: VM) -> None:
        """Add a VM. Raises ``AlreadyExists`` if its name is taken."""
        marks = ", ".join("?" * 12)
        with self._database.transaction() as connection:
            try:
                connection.execute(f"INSERT INTO vm ({_COLUMNS}) VALUES ({marks})", _row(vm))
            except sqlite3.IntegrityError as error:
                raise name_taken(vm.name) from error

    def update(self, vm: VM) -> None:
        """Write all of ``vm``. Raises ``NotFound`` if it is gone."""
        row = _row(vm)
        assignments = ", ".join(f"{name.strip()} = ?" for name in _COLUMNS.split(","))
        with self._database.transaction() as connection:
            try:
                done = connection.execute(
                    f"UPDATE vm SET {assignments} WHERE id = ?", (*row, vm.id)
                )
            except sqlite3.IntegrityError as error:
                raise name_taken(vm.name) from error
            if done.rowcount != 1:
                raise NotFound(f"no VM {vm.name}", cause="it was deleted meanwhile")

    def delete(self, vm_id: str) -> None:
        """Remove the row; one that is gone already is no error."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM vm WHERE id = ?", (vm_id,))
        self._decoded.pop(vm_id, None)

    def get(self, vm_id: str) -> VM | None:
        return next(self._select("WHERE id = ?", (vm_id,)), None)

    def by_name(self, name: str) -> VM | None:
        return next(self._select("WHERE name = ?", (name,)), None)

    def by_id_prefix(self, prefix: str) -> list[VM]:
        return list(self._select("WHERE id >= ? AND id < ? || 'g' ORDER BY id", (prefix, prefix)))

    def by_image(self, image_id: str) -> list[VM]:
        return list(self._select("WHERE image_id = ? ORDER BY name", (image_id,)))

    def all(self) -> list[VM]:
        return list(self._select("ORDER BY name", ()))

    def names(self) -> set[str]:
        rows = self._database.connection.execute("SELECT name FROM vm")
        return {str(row[0]) for row in rows}

    def _select(self, clause: str, values: tuple[str, ...]) -> Iterator[VM]:
        rows = self._database.connection.execute(f"SELECT {_COLUMNS} FROM vm {clause}", values)
        return map(self._vm, rows)

    def _vm(self, row: tuple[Any, ...]) -> VM:
        known = self._decoded.get(row[0])
        if known is not None and known[0] == row:
            return known[1]
        vm = _vm(row)
        self._decoded[vm.id] = (row, vm)
        return vm


def name_taken(name: str) -> AlreadyExists:
    return AlreadyExists(
        f"a VM named {name} exists already",
        cause="names are unique among your VMs",
        resolution=f"banger show {name}, or choose another name",
    )


def _row(vm: VM) -> tuple[object, ...]:
    return (
        vm.id,
        vm.name,
        vm.state.value,
        vm.spec.image_id,
        dump(vm.spec),
        dump(vm.lease),
        dump(vm.machine) if vm.machine else "",
        dump(vm.last_exit) if vm.last_exit else "",
        dump(vm.problem),
        vm.created_at,
        vm.started_at,
        vm.generation,
    )


def _vm(row: Iterable[Any]) -> VM:
    (
        vm_id,
        name,
        state,
        _image_id,
        spec,
        lease,
        machine,
        last_exit,
        problem,
        created_at,
        started_at,
        generation,
    ) = row
    return VM(
        id=vm_id,
        name=name,
        spec=load(spec, VMSpec),
        state=VMState(state),
        lease=load(lease, Lease),
        created_at=created_at,
        started_at=started_at,
        machine=load(machine, Machine) if machine else None,
        last_exit=load(last_exit, Exit) if last_exit else None,
        problem=load(problem, dict[str, str]),
        generation=generation,
    )
