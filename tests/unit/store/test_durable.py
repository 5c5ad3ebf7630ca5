"""Deferred transactions: seen at once, and durable when somebody has waited for it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from banger.errors import HostNotReady
from banger.store.database import Database


def synced_levels(database: Database) -> int:
    return int(database.connection.execute("PRAGMA synchronous").fetchone()[0])


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were synced, in order."""
    found: list[str] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return found


def write(database: Database, *, deferred: bool) -> None:
    with database.transaction(deferred=deferred) as connection:
        assert synced_levels(database) == (1 if deferred else 2)
        connection.execute("INSERT INTO meta VALUES (hex(randomblob(8)), '')")


async def test_only_what_was_deferred_is_waited_for(tmp_path: Path, syncs: list[str]) -> None:
    database = Database(tmp_path / "state.db")
    write(database, deferred=False)
    await database.durable()
    assert syncs == []
    write(database, deferred=True)
    assert synced_levels(database) == 2, "the next transaction is durable again by itself"
    await database.durable(alone=True)
    await database.durable()
    assert syncs == ["state.db-wal"]
    write(database, deferred=True)
    write(database, deferred=False)
    await database.durable()
    assert syncs == ["state.db-wal"], "a later one that was not deferred has done it"
    database.close()


async def test_many_share_one_wait(tmp_path: Path, syncs: list[str]) -> None:
    database = Database(tmp_path / "state.db")
    for _ in range(20):
        write(database, deferred=True)
    await asyncio.gather(*(database.durable() for _ in range(20)))
    assert syncs == ["state.db-wal"]
    database.close()


async def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(tmp_path / "state.db")
    write(database, deferred=True)

    def fdatasync(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with pytest.raises(HostNotReady, match=r"state\.db"):
        await database.durable()
    database.close()
