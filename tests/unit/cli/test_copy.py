from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from banger.cli.copy import parse_place
from tests.fakes.cli_home import CLIHome


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("web:/srv", ("web", "/srv")),
        ("web:", ("web", ".")),
        ("web:a:b", ("web", "a:b")),
        ("./a:b", ("", "./a:b")),
        ("/a:b", ("", "/a:b")),
        (":x", ("", ":x")),
        ("plain", ("", "plain")),
    ],
)
def test_places(text: str, place: tuple[str, str]) -> None:
    assert parse_place(text) == place


def test_in_and_out(banger: CLIHome, tmp_path: Path) -> None:
    banger.fake.add_vm("web", state="running")
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    assert banger("cp", str(one), str(two), f"web:{banger.guest}") == (0, "", "")
    out = tmp_path / "out"
    out.mkdir()
    source = f"web:{banger.guest}"
    assert banger("vm", "cp", f"{source}/one", f"{source}/two", str(out)).status == 0
    assert sorted(path.name for path in out.iterdir()) == ["one", "two"]


def test_streams(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    data = os.urandom(300_000)
    argv = [sys.executable, "-m", "banger", "cp"]
    environment = os.environ | banger.environment
    subprocess.run([*argv, "-", f"web:{banger.guest}/x"], input=data, env=environment, check=True)
    back = subprocess.run(
        [*argv, f"web:{banger.guest}/x", "-"], stdout=subprocess.PIPE, env=environment, check=True
    )
    assert back.stdout == data
    assert banger("cp", "-", "web:/no/such/folder/x").status == 1
    assert banger("cp", "web:/no/such/file", "-").status == 1


def test_mistakes(banger: CLIHome, tmp_path: Path) -> None:
    banger.fake.add_vm("web", state="running")
    for argv, status in (
        (("a", "b"), 2),
        (("web:/a", "web:/b"), 2),
        (("web:/a", "db:/b", "."), 2),
        (("-", "x", "web:/b"), 2),
        (("/no/such", "web:/"), 4),
        (("web:/no/such", str(tmp_path)), 4),
        (("x", "nope:/"), 4),
        (("/etc/hostname", "web:/no/such/folder/x"), 4),
    ):
        result = banger("cp", *argv)
        assert (result.status, len(result.stderr.splitlines())) == (status, 3), (argv, result)


def test_what_cannot_be_copied_is_told(banger: CLIHome, tmp_path: Path) -> None:
    banger.fake.add_vm("web", state="running")
    os.mkfifo(tmp_path / "fifo")
    result = banger("cp", str(tmp_path), f"web:{banger.guest}/new")
    assert result.status == 8
    assert result.stderr.startswith("warning: skipped ")


def test_no_room_on_this_side(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    (banger.guest / "file").write_text("x" * 100_000)
    result = banger("cp", f"web:{banger.guest}/file", "/proc/self/net")
    assert (result.status, len(result.stderr.splitlines())) == (1, 3), result
