"""Opens the SQLite database, sets its pragmas and owns ``transaction()``."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from banger.errors import CorruptState, HostNotReady
from banger.store import migrations

#: Marks the file as ours ("bngr"); see the SQLite pragma application_id.
APPLICATION_ID = 0x626E6772


class Database:
    """One connection, used from the event loop's thread only; reads take microseconds.

    ``changes`` grows with every committed transaction, so that readers can keep what they
    derived from the rows until it moves. ``fresh`` tells that the file was just made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh = not path.exists()
        self.changes = 0
        self._depth = 0
        self.connection = _connect(path)
        migrations.migrate(self.connection, path)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed on success, rolled back on any exception.

        Nested calls join the outer transaction. Never ``await`` inside.
        Raises ``HostNotReady`` when the disk is full; then nothing has changed.
        """
        if self._depth:
            yield self.connection
            return
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield self.connection
            except BaseException:
                self._roll_back()
                raise
            self.connection.execute("COMMIT")
            self.changes += 1
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise _explained(error, self.path) from error
        finally:
            self._depth = 0

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
