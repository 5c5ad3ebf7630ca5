"""Adds up Firecracker's metrics: each line of its file holds what was counted since the last.

The sums so far stand in a file beside it, with the last line that they hold. Where that line
stands is where adding goes on, however the file was cut meanwhile and whoever reads it: a second
reader, or the daemon that comes after this one.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

from msgspec import Struct

from banger.drivers.vmm import console_log
from banger.drivers.vmm.child import DiskCounters

#: Bytes above which the file is cut, and what stays of it; a line has about 5 KiB, and one comes
#: every minute and with each look. What stays holds the last line that was added.
LIMIT, KEPT = 512 * 1024, 256 * 1024
_READ_LIMIT = 64 * 1024 * 1024


class Totals(Struct, frozen=True):
    """Sums up to and with the line ``last`` (without its end; empty before the first one)."""

    read_bytes: int = 0
    written_bytes: int = 0
    last: str = ""


def totals_of(metrics: Path) -> Path:
    """Where the sums of a file of metrics are kept."""
    return metrics.with_suffix(".totals")


def forget(metrics: Path) -> None:
    """Begin at zero: to be called before a new process writes the file from its beginning."""
    totals_of(metrics).unlink(missing_ok=True)


def add(totals: Totals, text: str) -> Totals:
    """``totals`` with the complete lines of ``text`` that they do not hold yet (pure)."""
    text = text[: text.rfind("\n") + 1]
    if totals.last:
        _, found, rest = text.rpartition(totals.last + "\n")
        text = rest if found else text
    read, written, last = totals.read_bytes, totals.written_bytes, totals.last
    for line in text.splitlines():
        block = _block(line)
        if block is not None:
            read, written, last = read + block.read_bytes, written + block.written_bytes, line
    return Totals(read, written, last)


def _block(line: str) -> DiskCounters | None:
    """The sums over all drives in a line; ``None`` for the rest of a line that was cut."""
    try:
        document = json.loads(line)
        block = document["block"]
        return DiskCounters(int(block["read_bytes"]), int(block["write_bytes"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def counted(metrics: Path) -> DiskCounters | None:
    """All that was counted since the start, and kept from now on; ``None`` for no metrics.

    Raises ``OSError`` for what cannot be read or written.
    """
    try:
        with metrics.open("rb") as file:
            text = file.read(_READ_LIMIT).decode(errors="replace")
    except FileNotFoundError:
        return None
    before = _read(totals_of(metrics))
    totals = add(before, text)
    if totals != before:
        _write(totals_of(metrics), totals)
    return DiskCounters(totals.read_bytes, totals.written_bytes) if totals.last else None


def bound(metrics: Path) -> None:
    """Cut a file that grew long, after its lines were added. Raises ``OSError``."""
    if console_log.size_of(metrics) > LIMIT:
        counted(metrics)
        console_log.bound(metrics, LIMIT, KEPT)


def _read(path: Path) -> Totals:
    try:
        document = json.loads(path.read_bytes())
        return Totals(int(document["read_bytes"]), int(document["written_bytes"]), document["last"])
    except (OSError, ValueError, TypeError, KeyError):
        return Totals()


def _write(path: Path, totals: Totals) -> None:
    # Whole or not at all, but not synced: a power cut ends the process that it tells of.
    new = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    text = {
        "read_bytes": totals.read_bytes,
        "written_bytes": totals.written_bytes,
        "last": totals.last,
    }
    try:
        new.write_text(json.dumps(text))
        new.chmod(0o600)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
