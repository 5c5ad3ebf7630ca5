"""Opens the SQLite database, sets its pragmas and owns ``transaction()``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from banger.errors import CorruptState, HostNotReady
from banger.host import files
from banger.store import migrations

#: Marks the file as ours ("bngr"); see the SQLite pragma application_id.
APPLICATION_ID = 0x626E6772


class Database:
    """One connection, used from the event loop's thread only; reads take microseconds.

    ``changes`` grows with every committed transaction, so that readers can keep what they
    derived from the rows until it moves. ``fresh`` tells that the file was just made.

    A transaction is durable (it outlives a power cut) when it is committed. One that is
    ``deferred`` is so after ``durable``, or after the next one that is not deferred: many
    operations under way then share one wait for the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh = not path.exists()
        self.changes = 0
        self._depth = 0
        self._durable = 0
        self._log = -1
        self._syncing = asyncio.Lock()
        self.connection = _connect(path)
        migrations.migrate(self.connection, path)

    @contextlib.contextmanager
    def transaction(self, *, deferred: bool = False) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed on success, rolled back on any exception.

        Nested calls join the outer transaction. Never ``await`` inside.
        Raises ``HostNotReady`` when the disk is full; then nothing has changed.
        """
        if self._depth:
            yield self.connection
            return
        try:
            if deferred:
                self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield self.connection
            except BaseException:
                self._roll_back()
                raise
            self.connection.execute("COMMIT")
            self.changes += 1
            if not deferred:
                self._durable = self.changes
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise _explained(error, self.path) from error
        finally:
            self._depth = 0
            if deferred:
                self.connection.execute("PRAGMA synchronous = FULL")

    @property
    def unsynced(self) -> int:
        """How many committed transactions a power cut could still undo."""
        return self.changes - self._durable

    async def durable(self, *, alone: bool = False) -> None:
        """Return when all that is committed now outlives a power cut.

        Those who come while one waits for the disk share the next wait. Whoever is ``alone``
        does not go through a thread for it. Raises ``HostNotReady``.
        """
        wanted = self.changes
        if self._durable >= wanted:
            return
        async with self._syncing:
            if self._durable >= wanted:
                return
            committed = self.changes
            # What is committed stands in the log alone (SQLite: "Write-Ahead Logging"), which
            # is synced before any of it goes into the database itself.
            with files.explained(f"write the database {self.path}"):
                if self._log < 0:
                    log = self.path.with_name(f"{self.path.name}-wal")
                    self._log = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
                if alone:
                    os.fdatasync(self._log)
                else:
                    await asyncio.to_thread(os.fdatasync, self._log)
            self._durable = max(self._durable, committed)

    def _roll_back(self) -> None:
        # SQLite ends the transaction by itself on some errors (disk full, I/O).
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def get_meta(self, key: str) -> str:
        """The value stored under ``key``, empty if there is none."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def set_meta(self, key: str, value: str) -> None:
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?2",
                (key, value),
            )

    def close(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
        self.connection.close()


def open_database(path: Path) -> tuple[Database, str]:
    """Open ``path``; a file that is no sound database is moved aside, never deleted.

    Returns the database and a warning (empty if all was well). The rows of a database
    moved aside are rebuilt by the caller from the folders of VMs and images.
    """
    try:
        return Database(path), ""
    except (sqlite3.DatabaseError, CorruptState) as error:
        if isinstance(error, sqlite3.OperationalError):
            raise _explained(error, path) from error
        aside = path.with_name(f"{path.name}.corrupt-{int(time.time())}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        return Database(path), f"the database was unreadable ({error}) and was moved to {aside}"


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5, check_same_thread=False)
    try:
        # FULL: a command that was acknowledged outlives a power cut (0.3 ms a commit).
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if found != APPLICATION_ID and (found or tables):
            raise CorruptState(f"{path} is not a banger database", cause=f"its mark is {found:#x}")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise CorruptState(f"the database {path} is damaged", cause=str(verdict))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    except BaseException:
        connection.close()
        raise
    path.chmod(0o600)
    return connection


def _explained(error: sqlite3.OperationalError, path: Path) -> HostNotReady:
    return HostNotReady(
        f"cannot write the database {path}",
        cause=str(error),
        resolution=f"df -h {path.parent}",
    )
