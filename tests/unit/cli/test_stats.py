from __future__ import annotations

import io
import json

import pytest

from banger.cli.redraw import Redrawn
from tests.fakes.cli_home import CLIHome


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banger.cli.vm_stats.time.sleep", lambda _seconds: None)


def test_the_table_shows_what_runs(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    banger.fake.add_vm("db", state="paused", network="user")
    banger.fake.add_vm("idle")
    result = banger("stats", columns=120)
    assert result.status == 0
    header, first, second = result.stdout.splitlines()
    assert header.split()[:2] == ["NAME", "CPU"]
    assert first.split()[0] == "db"
    assert first.split()[-2] == "-"
    assert second.split()[:3] == ["web", "50.0%", "300"]
    assert "\x1b" not in result.stdout


def test_json_has_counters_and_rates(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running", vcpus=4)
    [shown] = json.loads(banger("vm", "stats", "--json").stdout)
    assert shown["cpu_percent"] == 50.0
    assert shown["vcpu_percent"] == 12.5
    assert (shown["disk_read_rate"], shown["disk_written_rate"]) == (1 << 20, 2 << 20)
    assert shown["resident_bytes"] == 300 << 20


def test_named_vms_alone(banger: CLIHome) -> None:
    for name in ("web-1", "web-2", "db"):
        banger.fake.add_vm(name, state="running")
    assert banger("stats", "-q", "db").stdout == "db\n"
    assert banger("stats", "-q", "web-*").stdout == "web-1\nweb-2\n"
    assert banger("stats", "--no-header", "-c", "name", "--no-stream").stdout.split() == [
        "db",
        "web-1",
        "web-2",
    ]


def test_what_does_not_run_has_no_statistics(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    result = banger("stats", "web")
    assert result.status == 5
    assert len(result.stderr.splitlines()) == 3
    assert "banger start web" in result.stderr
    assert banger("stats", "wbe").status == 4
    assert banger("stats", "-c", "nonsense").status == 2
    assert "no VM runs" in banger("stats").stderr
    assert json.loads(banger("stats", "--json").stdout) == []


def test_on_a_terminal_it_is_drawn_again_in_its_place(
    banger: CLIHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = banger.fake.add_vm("web", state="running")
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            vm["state"] = "stopped"

    monkeypatch.setattr("banger.cli.vm_stats.time.sleep", sleep)
    result = banger("stats", "web", "--interval", "5", terminal=True)
    assert result.status == 0
    assert pauses == [0.5, 5.0, 5.0]
    assert result.stdout.count("NAME    CPU") == 2
    assert result.stdout.count("\x1b[2F") == 2
    assert result.stdout.endswith("\x1b[J")


def test_once_on_a_terminal(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    assert "\x1b[J" not in banger("stats", "--no-stream", terminal=True).stdout


def test_a_block_that_is_too_high_is_cut() -> None:
    stream = io.StringIO()
    screen = Redrawn(stream)
    screen.draw([f"line {number}" for number in range(100)])
    lines = stream.getvalue().splitlines()
    assert lines[21].startswith("line 21")
    assert lines[22].startswith("... and 78 more")
    screen.draw(["one"])
    assert "\x1b[23F" in stream.getvalue()
