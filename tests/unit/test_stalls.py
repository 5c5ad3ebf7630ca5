"""A stalled lab host costs a repetition, no failure; one that stalls each time fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
#: Three tests in a row that share what the file's fixture makes; ``stall`` is made before some.
STORY = """
import pathlib, pytest
from tests.lab.control import LabStalled
from tests.plugins.lab import LabHome
pytestmark = pytest.mark.needs("lab")
here = pathlib.Path(__file__).parent
def note(word):
    with (here / "notes").open("a") as file: file.write(word + " ")
def stall():
    if (here / "again").exists():
        (here / "again").unlink(); raise LabStalled("no answer yet")
    if (here / "stall").exists():
        if not (here / "always").exists(): (here / "stall").unlink()
        raise LabStalled("no answer")
class Home(LabHome, list):
    def __init__(self):
        class session:
            class machine:
                def last_words(): return "oops"
        self.session = session
    def lost_guests(self):
        silent = (here / "silent").exists()
        if silent: (here / "silent").unlink()
        return ["the guest of web answers no ping"] if silent else []
@pytest.fixture(scope="module")
def host():
    note("up"); yield Home(); note("down")
def test_first(host):
    note("first"); host.append(1); assert not (here / "worse").exists() or (here / "stall").exists()
def test_second(host):
    note("second"); stall(); assert host == [1]; host.append(2)
def test_third(host):
    note("third"); assert host == [1, 2] and not (here / "silent").exists()
"""
#: What those tests note when nothing is in the way.
ALL = "up first second third down"
#: And when the lab stalls in the second.
STALLED = "up first second down"


def run(folder: Path, *files: str, more: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """The status and the output of the story in ``folder``, and what its tests did.

    ``more`` are options for pytest.
    """
    (folder / "test_story.py").write_text(STORY)
    for name in files:
        (folder / name).touch()
    options = (
        "-p",
        "tests.plugins.stalls",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "-v",
        *more,
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", folder, folder],
        capture_output=True, text=True, cwd=TOP, check=False,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    notes = (folder / "notes").read_text()
    return done.returncode, done.stdout + done.stderr, notes.strip()


def test_without_a_stall_each_runs_once(tmp_path: Path) -> None:
    status, output, notes = run(tmp_path)
    assert (status, notes) == (0, ALL), output
    assert "LAB STALLED" not in output


def test_a_stall_repeats_the_file_so_far_on_a_fresh_host(tmp_path: Path) -> None:
    status, output, notes = run(tmp_path, "stall")
    assert (status, notes) == (0, f"{STALLED} {ALL}"), output
    assert "3 passed" in output
    assert (
        "LAB STALLED in test_story.py::test_second: no answer\n  | oops; 2 tests once more"
        in output
    )


def test_a_guest_that_has_fallen_silent_is_a_stall(tmp_path: Path) -> None:
    status, output, notes = run(tmp_path, "silent")
    assert (status, notes) == (0, f"{ALL} {ALL}"), output
    assert "the guest of web answers no ping: assert" in output
    assert "\n  | oops; 3 tests once more" in output


def test_a_failure_beside_a_live_guest_is_a_failure(tmp_path: Path) -> None:
    status, output, notes = run(tmp_path, "worse")
    assert (status, notes) == (1, ALL), output
    assert "LAB STALLED" not in output


def test_one_of_two_processes_tells_the_other(tmp_path: Path) -> None:
    several = ("-p", "xdist", "-p", "tests.plugins.sides", "--numprocesses", "2")
    status, output, notes = run(tmp_path, "stall", more=several)
    assert (status, notes) == (0, f"{STALLED} {ALL}"), output
    assert "3 passed" in output
    assert "LAB STALLED in test_story.py::test_second: no answer\n  | oops" in output


def test_a_second_stall_costs_another_repetition(tmp_path: Path) -> None:
    status, output, notes = run(tmp_path, "again", "stall")
    assert (status, notes) == (0, f"{STALLED} {STALLED} {ALL}"), output
    assert output.count("LAB STALLED") == 2


def test_a_third_stall_is_a_failure(tmp_path: Path) -> None:
    status, output, notes = run(tmp_path, "stall", "always")
    assert status == 1, output
    assert notes.startswith(f"{STALLED} {STALLED} up first second third"), output
    assert "2 failed, 1 passed" in output


def test_an_earlier_test_that_then_fails_is_shown(tmp_path: Path) -> None:
    status, output, notes = run(tmp_path, "stall", "worse")
    assert (status, notes) == (1, f"{STALLED} up first third down"), output
    # The third lacks what the second did.
    assert "test_story.py::test_first FAILED" in output
    assert "2 failed, 1 passed" in output
