"""Reservations: whoever inserts ``(kind, key)`` first holds it until it is released."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from banger.store.database import Database


class Taken(Exception):
    """Another owner holds the resource."""

    def __init__(self, kind: str, key: str, owner_id: str) -> None:
        super().__init__(f"{kind} {key} is held by {owner_id}")
        self.kind = kind
        self.key = key
        self.owner_id = owner_id


class Resources:
    """The resource table, whose primary key is the allocator."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(
        self, keys: Iterable[tuple[str, str]], *, owner_id: str, operation_id: str, boot_id: str
    ) -> None:
        """Take all of ``keys`` (kind, key) or none. Holding one already is no error.

        Raises ``Taken`` for the first that another owner holds.
        """
        with self._database.transaction() as connection:
            for kind, key in keys:
                try:
                    connection.execute(
                        "INSERT INTO resource VALUES (?, ?, ?, ?, ?)",
                        (kind, key, owner_id, operation_id, boot_id),
                    )
                except sqlite3.IntegrityError:
                    holder = self.holder(kind, key)
                    if holder != owner_id:
                        raise Taken(kind, key, holder) from None

    def release(self, owner_id: str, keys: Iterable[tuple[str, str]] | None = None) -> None:
        """Give back ``keys`` of an owner, or all that it holds."""
        with self._database.transaction() as connection:
            if keys is None:
                connection.execute("DELETE FROM resource WHERE owner_id = ?", (owner_id,))
                return
            connection.executemany(
                "DELETE FROM resource WHERE owner_id = ? AND kind = ? AND key = ?",
                [(owner_id, kind, key) for kind, key in keys],
            )

    def holder(self, kind: str, key: str) -> str:
        """The owner of ``(kind, key)``, empty if it is free."""
        row = self._database.connection.execute(
            "SELECT owner_id FROM resource WHERE kind = ? AND key = ?", (kind, key)
        ).fetchone()
        return str(row[0]) if row else ""

    def held(self, kind: str) -> set[str]:
        """All keys of a kind that somebody holds."""
        rows = self._database.connection.execute("SELECT key FROM resource WHERE kind = ?", (kind,))
        return {str(row[0]) for row in rows}
