"""Opening, migrating, refusing and moving aside."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from banger.store import migrations
from banger.store.database import Database, open_database
from banger.store.migrations import SchemaTooNew


def test_a_fresh_database_has_the_newest_schema_and_is_private(tmp_path: Path) -> None:
    database, warning = open_database(tmp_path / "banger.db")
    assert warning == ""
    assert database.fresh
    version = database.connection.execute("PRAGMA user_version").fetchone()[0]
    assert version == len(migrations.available())
    assert (tmp_path / "banger.db").stat().st_mode & 0o777 == 0o600
    assert database.connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    database.close()


def test_a_rolled_back_transaction_leaves_nothing(tmp_path: Path) -> None:
    database, _ = open_database(tmp_path / "banger.db")
    changes = database.changes

    def fail_midway() -> None:
        with database.transaction():
            database.set_meta("a", "1")
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail_midway()
    assert database.get_meta("a") == ""
    assert database.changes == changes
    database.set_meta("a", "2")
    assert database.get_meta("a") == "2"
    assert database.changes == changes + 1
    database.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database at all" * 400),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192),
    ],
    ids=["empty", "text", "100 bytes", "one byte short", "overwritten pages"],
)
def test_a_damaged_file_is_moved_aside_or_read(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "banger.db"
    database, _ = open_database(path)
    database.set_meta("a", "1")
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    assert callable(damage)
    damage(path)
    database, warning = open_database(path)
    database.set_meta("b", "2")
    assert database.get_meta("b") == "2"
    if warning:
        assert list(tmp_path.glob("banger.db.corrupt-*"))
    else:
        assert database.get_meta("a") in ("1", "")
    database.close()


def test_a_foreign_database_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "banger.db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.commit()
    foreign.close()
    database, warning = open_database(path)
    database.close()
    assert "not a banger database" in warning
    moved = next(tmp_path.glob("banger.db.corrupt-*"))
    kept = sqlite3.connect(moved)
    assert kept.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    kept.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "banger.db"
    Database(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9999")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew) as caught:
        open_database(path)
    assert "9999" in caught.value.cause
    assert path.read_bytes() == before


def test_an_upgrade_backs_the_old_schema_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "banger.db"
    database = Database(path)
    database.set_meta("a", "1")
    database.close()
    known = migrations.available()
    added = [*known, (len(known) + 1, "CREATE TABLE added (x);")]
    monkeypatch.setattr(migrations, "available", lambda: added)
    database = Database(path)
    assert database.get_meta("a") == "1"
    assert database.connection.execute("SELECT count(*) FROM added").fetchone()[0] == 0
    database.close()
    backup = sqlite3.connect(tmp_path / f"banger.db.v{len(known)}.backup")
    assert backup.execute("SELECT value FROM meta WHERE key = 'a'").fetchone() == ("1",)
    backup.close()


def test_a_failed_migration_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "banger.db"
    Database(path).close()
    known = migrations.available()
    broken = [*known, (len(known) + 1, "CREATE TABLE half (x); CREATE TABLE meta (x);")]
    monkeypatch.setattr(migrations, "available", lambda: broken)
    with pytest.raises(sqlite3.OperationalError):
        Database(path)
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA user_version").fetchone()[0] == len(known)
    assert not plain.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchall()
    plain.close()
