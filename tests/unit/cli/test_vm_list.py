from __future__ import annotations

import json

import pytest

from tests.fakes.cli_home import CLIHome
from tests.fakes.golden import assert_golden


def fill(banger: CLIHome) -> None:
    fake = banger.fake
    fake.add_vm("web", state="running", uptime_seconds=7500.0)
    fake.add_vm("a-very-long-name-that-somebody-chose-for-a-database-server", memory_mib=512)
    fake.add_vm(
        "broken",
        state="stopped",
        last_exit={"reason": "guest-panic", "at": "2026-01-02T03:04:05Z", "detail": ""},
        image="another-image-with-a-long-name",
    )


COLUMNS = "name,state,image,vcpus,memory,address,uptime,overlay"


@pytest.mark.parametrize("columns", [80, 120])
def test_table_fits_the_terminal(banger: CLIHome, columns: int) -> None:
    fill(banger)
    result = banger("ls", "-c", COLUMNS, columns=columns)
    assert result.status == 0
    assert_golden(f"cli/ls-{columns}.txt", result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= columns


def test_colour_is_only_for_terminals(banger: CLIHome) -> None:
    fill(banger)
    assert "\x1b" not in banger("ls").stdout
    assert "\x1b[32mrunning" in banger("ls", terminal=True).stdout
    assert "\x1b" not in banger("ls", terminal=True, NO_COLOR="1").stdout
    assert "\x1b" not in banger("ls", terminal=True, BANGER_NO_COLOR="1").stdout
    assert "\x1b" not in banger("ls", terminal=True, TERM="dumb").stdout
    assert "\x1b" not in banger("--no-color", "ls", terminal=True).stdout
    assert "\x1b" not in banger("ls", "--no-color", terminal=True).stdout


def test_not_cut(banger: CLIHome) -> None:
    fill(banger)
    shown = banger("vm", "list", "--no-trunc", columns=40).stdout
    assert "a-very-long-name-that-somebody-chose-for-a-database-server" in shown


def test_names_only(banger: CLIHome) -> None:
    fill(banger)
    assert banger("ps", "-q", "--sort", "-memory").stdout.split()[-1].startswith("a-very")


def test_json_is_everything_and_csv_is_raw(banger: CLIHome) -> None:
    fill(banger)
    assert json.loads(banger("ls", "--json").stdout) == sorted(
        banger.fake.vms.values(), key=lambda vm: str(vm["name"])
    )
    lines = banger("ls", "--format", "jsonl", "-c", "name,memory").stdout.splitlines()
    assert json.loads(lines[0])["memory_mib"] == 512
    csv = banger("ls", "--format", "csv", "-c", "name,memory,uptime").stdout
    assert csv.splitlines()[::3] == ["name,memory,uptime", "web,1024,7500.0"]
    assert banger("ls", "--format", "csv", "-c", "name", "--no-header", "w*").stdout == "web\n"


def test_only_needed_fields_are_asked_for(banger: CLIHome) -> None:
    fill(banger)
    banger("ls", "-c", "name,uptime", "--sort", "memory", "--state", "running")
    path = banger.fake.requests[-1][1]
    assert path == "/v1/vms?fields=id,name,uptime_seconds,memory_mib,state"


def test_filters(banger: CLIHome) -> None:
    fill(banger)
    assert banger("ls", "-q", "w*", "brok?n").stdout == "broken\nweb\n"
    assert banger("ls", "-q", "--state", "running").stdout == "web\n"
    assert banger("ls", "zzz").stderr == "no VM matches\n"


def test_nothing_yet(banger: CLIHome) -> None:
    result = banger("ls")
    assert (result.status, result.stdout) == (0, "")
    assert result.stderr == "no VMs yet; make one with: banger run\n"
    assert json.loads(banger("ls", "--json").stdout) == []


@pytest.mark.parametrize(("option", "value"), [("-c", "nmae"), ("--sort", "-nmae")])
def test_unknown_field(banger: CLIHome, option: str, value: str) -> None:
    result = banger("ls", option, value)
    assert result.status == 2
    assert result.stderr.splitlines()[0] == f"error: {option} nmae: there is no such field"
    assert result.stderr.splitlines()[2] == f"  try:   banger ls {option} name"


def test_what_a_guest_named_itself_cannot_move_the_cursor(banger: CLIHome) -> None:
    banger.fake.add_vm("web", image="evil\x1b[2Jimage\r")
    shown = banger("ls", terminal=True, NO_COLOR="1").stdout
    assert "\x1b" not in shown
    assert "\r" not in shown
