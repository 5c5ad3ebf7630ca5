"""What ``doctor`` says about Firecracker."""

from __future__ import annotations

from pathlib import Path

import pytest

from banger.host import firecracker_check
from banger.host.finding import Status
from banger.host.firecracker_binary import take_given
from tests.firecracker_program import firecracker_program
from tests.requirements import needs

SCRIPT = "#!/bin/sh\ncase $1 in --version) echo 'Firecracker v1.12.1' ;; *) echo {} ;; esac\n"


def taken(tmp_path: Path, says: str) -> Path:
    tmp_path.chmod(0o700)
    script = tmp_path / "fc"
    script.write_text(SCRIPT.format(says))
    script.chmod(0o755)
    take_given(tmp_path / "data", script)
    return tmp_path / "data"


def test_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check = firecracker_check.firecracker_check(tmp_path / "data")
    assert (check.status, check.found) == (Status.WARN, "not installed")


def test_one_in_which_a_guest_runs(tmp_path: Path) -> None:
    check = firecracker_check.firecracker_check(taken(tmp_path, "'banger: a bare guest runs'"))
    assert check.status is Status.OK
    assert "1.12.1" in check.found
    assert "a bare guest ran in" in check.found
    assert check.resolution == ""


def test_one_in_which_none_runs(tmp_path: Path) -> None:
    check = firecracker_check.firecracker_check(taken(tmp_path, "'Kvm error: Permission denied'"))
    assert check.status is Status.WARN
    assert "Permission denied" in check.found
    assert "/dev/kvm" in check.resolution


def test_one_that_changed(tmp_path: Path) -> None:
    folder = taken(tmp_path, "x")
    (folder / "firecracker").write_text("#!/bin/sh\n")
    check = firecracker_check.firecracker_check(folder)
    assert check.status is Status.WARN
    assert "not the program" in check.found
    assert check.resolution


@needs("firecracker", "bare-kvm")
def test_the_real_one_runs_a_guest() -> None:
    trial = firecracker_check.try_firecracker(firecracker_program())
    assert trial.passed, trial
