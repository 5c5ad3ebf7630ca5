from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from banger.host import jail_check as module
from banger.host.finding import Status
from banger.host.firecracker_binary import take_given
from banger.host.jail_check import jail_check
from banger.host.privilege import Privilege


class Root(Privilege):
    def __init__(self, obstacle: str = "") -> None:
        super().__init__()
        self._obstacle = obstacle

    def obstacle(self) -> str:
        return self._obstacle


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A taken Firecracker with a jailer, which counts as the release that may be jailed."""
    given = tmp_path / "given"
    given.mkdir()
    digests = {}
    for name in ("firecracker", "jailer"):
        (given / name).write_text("#!/bin/sh\necho Firecracker v1.12.1\n")
        (given / name).chmod(0o755)
        digests[name] = hashlib.sha256((given / name).read_bytes()).hexdigest()
    monkeypatch.setattr(module, "DIGESTS", digests)
    take_given(tmp_path / "data", given / "firecracker")
    return tmp_path / "data"


def groups(tmp_path: Path, controllers: str) -> Path:
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "cgroup.controllers").write_text(controllers)
    return root


def test_a_host_with_everything(folder: Path, tmp_path: Path) -> None:
    check = jail_check(folder, Root(), groups(tmp_path, "cpuset cpu memory pids\n"))
    assert (check.status, check.found[:11]) == (Status.OK, "with bounds")


@pytest.mark.parametrize(
    ("controllers", "words"), [("cpu", "lacks the controllers memory, pids"), (None, "alone")]
)
def test_a_host_without_control_groups(
    folder: Path, tmp_path: Path, controllers: str | None, words: str
) -> None:
    root = groups(tmp_path, controllers) if controllers else tmp_path / "none"
    check = jail_check(folder, Root(), root)
    assert check.status is Status.OK
    assert check.found.startswith("without bounds")
    assert words in check.found


def test_what_keeps_a_jail_away(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jail_check(folder, Root("no root side")).found == "no root side"
    assert jail_check(tmp_path / "nothing", Root()).status is Status.WARN
    monkeypatch.setattr(module, "DIGESTS", {"firecracker": "0" * 64, "jailer": "0" * 64})
    check = jail_check(folder, Root())
    assert (check.status, "not the release" in check.found) == (Status.WARN, True)
    assert check.resolution.startswith("banger setup")
