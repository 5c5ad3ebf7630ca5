from __future__ import annotations

import json
from pathlib import Path

from banger.drivers.vmm.child import DiskCounters
from banger.drivers.vmm.firecracker import metrics
from banger.drivers.vmm.firecracker.metrics import Totals, add


def line(moment: int, read: int, written: int, padding: int = 0) -> str:
    document = {
        "utc_timestamp_ms": moment,
        "api_server": {"x": "y" * padding},
        "block": {"read_bytes": read, "write_bytes": written},
    }
    return json.dumps(document) + "\n"


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(lines)


def test_lines_are_differences() -> None:
    text = line(1, 100, 1) + line(2, 0, 0) + line(3, 50, 2)
    assert add(Totals(), text) == Totals(150, 3, line(3, 50, 2)[:-1])


def test_a_line_is_added_once_and_an_unfinished_one_not_yet() -> None:
    whole, begun = line(1, 100, 1), line(2, 7, 7)
    first = add(Totals(), whole + begun[:20])
    assert first == add(first, whole + begun[:20]) == Totals(100, 1, whole[:-1])
    assert add(first, whole + begun).read_bytes == 107


def test_after_a_cut_adding_goes_on_behind_the_last_line() -> None:
    lines = [line(n, 10, 0) for n in range(9)]
    totals = add(Totals(), "".join(lines[:6]))
    # The cut goes through a line, and what stays was added except for the last three.
    assert add(totals, lines[3][15:] + "".join(lines[4:])).read_bytes == 90


def test_when_the_last_line_is_gone_everything_is_new() -> None:
    totals = add(Totals(), line(1, 10, 0))
    assert add(totals, "rest of a line}\n" + line(2, 5, 0)).read_bytes == 15


def test_odd_lines_count_nothing() -> None:
    assert add(Totals(), '[]\n{}\nx\n{"block": 1}\n{"block": {"read_bytes": null}}\n') == Totals()


def test_no_file_and_no_line_are_no_figures(tmp_path: Path) -> None:
    file = tmp_path / "vmm.metrics"
    assert metrics.counted(file) is None
    file.touch()
    assert metrics.counted(file) is None
    assert [path.name for path in tmp_path.iterdir()] == ["vmm.metrics"]


def test_sums_outlive_reader_and_cuts(tmp_path: Path) -> None:
    file = tmp_path / "vmm.metrics"
    for moment in range(600):
        append(file, line(moment, 3, 4, padding=5000))
        if moment % 50 == 0:
            metrics.bound(file)
    assert file.stat().st_size < metrics.LIMIT + 50 * 5200
    for _ in range(2):
        assert metrics.counted(file) == DiskCounters(1800, 2400)
    assert metrics.totals_of(file).stat().st_mode & 0o777 == 0o600


def test_a_kill_between_the_sum_and_the_cut_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "vmm.metrics"
    append(file, *(line(n, 1, 0) for n in range(10)))
    assert metrics.counted(file) == DiskCounters(10, 0)
    file.write_text("".join(line(n, 1, 0) for n in range(8, 12)))
    assert metrics.counted(file) == DiskCounters(12, 0)


def test_a_new_process_begins_at_zero(tmp_path: Path) -> None:
    file = tmp_path / "vmm.metrics"
    append(file, line(1, 100, 0))
    assert metrics.counted(file) == DiskCounters(100, 0)
    metrics.forget(file)
    metrics.forget(file)
    file.write_text(line(2, 1, 0))
    assert metrics.counted(file) == DiskCounters(1, 0)


def test_broken_sums_are_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "vmm.metrics"
    append(file, line(1, 100, 0))
    metrics.totals_of(file).write_text("{")
    assert metrics.counted(file) == DiskCounters(100, 0)
