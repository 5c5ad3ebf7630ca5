"""Applies the numbered SQL files in order, after a backup; refuses gaps and newer schemas."""

from __future__ import annotations

import re
import sqlite3
from importlib import resources
from pathlib import Path

from banger.errors import BangerError

_FILE = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql\Z")
_BACKUPS_KEPT = 3


class SchemaTooNew(BangerError):
    """The database was written by a newer banger; nothing was changed."""

    code = "schema_too_new"
    exit_status = 10


def available() -> list[tuple[int, str]]:
    """``(number, SQL text)`` of every migration, numbered from 1 without a gap."""
    found = []
    for entry in resources.files("banger.store").joinpath("migrations").iterdir():
        match = _FILE.match(entry.name)
        if match:
            found.append((int(match.group(1)), entry.read_text(encoding="utf-8")))
    found.sort()
    if [number for number, _ in found] != list(range(1, len(found) + 1)):
        raise RuntimeError(f"migrations are not numbered without a gap: {found!r:.80}")
    return found


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the newest version, each migration in one transaction.

    Raises ``SchemaTooNew`` if the file's version is above every known one.
    """
    known = available()
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(known):
        raise SchemaTooNew(
            f"the database {path} belongs to a newer banger",
            cause=f"its schema is version {version}, this banger knows {len(known)}",
            resolution="install the newer banger again, or move the file aside",
        )
    if 0 < version < len(known):
        _back_up(connection, path, version)
    for number, text in known[version:]:
        connection.executescript(f"BEGIN;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    target = path.with_name(f"{path.name}.v{version}.backup")
    target.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(target),))
    target.chmod(0o600)
    backups = sorted(path.parent.glob(f"{path.name}.v*.backup"), key=lambda p: p.stat().st_mtime)
    for old in backups[:-_BACKUPS_KEPT]:
        old.unlink()
