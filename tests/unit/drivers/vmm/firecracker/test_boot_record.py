"""The record beside the sockets: only ours is believed, and the dead are not signalled."""

from __future__ import annotations

import os
from pathlib import Path

from banger.drivers.vmm.firecracker import boot_record, halt_watch
from banger.drivers.vmm.firecracker.boot_record import BootRecord
from banger.host import process


def record(events: Path, *, mark: str = "pytest") -> BootRecord:
    pid = os.getpid()
    ticks = process.start_ticks(pid)
    assert ticks is not None
    return BootRecord(pid, ticks, mark, str(events), "/console", 7)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    written = record(tmp_path / "events")
    boot_record.write(tmp_path / "monitor.sock", written)
    assert boot_record.read(tmp_path) == written
    boot_record.remove(tmp_path / "monitor.sock")
    boot_record.remove(tmp_path / "monitor.sock")
    assert boot_record.read(tmp_path) is None


def test_a_link_or_nonsense_is_not_believed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    boot_record.write(real / "monitor.sock", record(tmp_path / "events"))
    (tmp_path / "boot.json").symlink_to(real / "boot.json")
    assert boot_record.read(tmp_path) is None
    for text in ("", "[]", "{}", '{"pid": 1}', "x" * 100):
        (real / "boot.json").write_text(text)
        assert boot_record.read(real) is None


def test_a_process_elsewhere_has_no_record() -> None:
    assert boot_record.of_process(os.getpid()) is None
    assert boot_record.of_process(2**22 + 1) is None


def test_an_end_is_noted_for_the_very_process_only(tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.write_bytes(b"")
    ours = record(events)
    other = BootRecord(ours.pid, ours.start_ticks + 1, "pytest", str(events), "", 0)
    assert not halt_watch.note_end(other, "stopped")
    assert not halt_watch.note_end(record(events, mark="banger-0-000000000000"), "stopped")
    assert events.read_bytes() == b""
