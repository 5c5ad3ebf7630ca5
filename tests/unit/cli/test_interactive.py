"""What becomes of the copy, by how the shell in it ended."""

from __future__ import annotations

from typing import Any

import pytest

from banger.cli import image_interactive
from banger.client import child
from banger.model.lifecycle import LEGAL, Action
from tests.fakes.cli_home import CLIHome


@pytest.fixture
def shell(banger: CLIHome, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the shells end with, one after the other; ``[]`` when none is left to come."""
    banger.fake.add_image("debian")
    ends: list[Any] = []

    def run(argv: list[str]) -> int:
        assert argv
        end = ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return int(end)

    monkeypatch.setattr(child, "ssh_in_terminal", run)
    return ends


def test_success_keeps_it(banger: CLIHome, shell: list[Any]) -> None:
    shell.append(0)
    result = banger("image", "interactive", "debian", "--out", "tools", "--nat", "--memory", "2G")
    assert (result.status, result.stdout) == (0, "kept tools (700 MiB on disk)\n")
    assert "leave with exit, and it becomes the image tools" in result.stderr
    asked = banger.sent("POST", "/v1/vms")[0]
    assert (asked["image"], asked["nat"], asked["memory_mib"]) == ("debian", True, 2048)
    assert asked["name"].startswith("tools-")
    assert banger.fake.vms == {}
    kept = banger.sent("POST", "/v1/images:keep")
    assert [body["name"] for body in kept] == ["tools"]


def test_the_name_of_the_result(banger: CLIHome, shell: list[Any]) -> None:
    shell.append(0)
    assert banger("image", "interactive", "debian", "-q").stdout == "interactive-debian\n"
    again = banger("image", "interactive", "debian")
    assert (again.status, len(again.stderr.splitlines())) == (5, 3)
    (banger.root / "My Own.ext4").write_text("x")
    odd = banger("image", "interactive", str(banger.root / "My Own.ext4"))
    assert (odd.status, len(odd.stderr.splitlines())) == (2, 3)
    assert "--out NAME" in odd.stderr
    assert len([p for m, p, _ in banger.fake.requests if (m, p) == ("POST", "/v1/vms")]) == 1


def test_a_file(banger: CLIHome, shell: list[Any]) -> None:
    shell.append(0)
    path = banger.root / "own.ext4"
    path.write_text("x")
    assert banger("image", "interactive", str(path), "-q").stdout == "interactive-own\n"
    asked = banger.sent("POST", "/v1/vms")[0]
    assert (asked["rootfs"], asked["image"]) == (str(path), "debian")
    missing = banger("image", "interactive", "./nothing.ext4")
    assert (missing.status, len(missing.stderr.splitlines())) == (2, 3)


@pytest.mark.parametrize("status", [1, 130])
def test_failure_throws_it_away(banger: CLIHome, shell: list[Any], status: int) -> None:
    shell.append(status)
    result = banger("image", "interactive", "debian")
    assert result.status == status
    assert f"the shell ended with status {status}" in result.stderr
    assert result.stderr.endswith("thrown away; nothing was kept\n")
    assert (banger.fake.vms, len(banger.fake.images)) == ({}, 1)


def test_discard(banger: CLIHome, shell: list[Any]) -> None:
    shell.append(0)
    result = banger("image", "interactive", "debian", "--discard")
    assert (result.status, result.stdout) == (0, "")
    assert "it is thrown away" in result.stderr
    assert (banger.fake.vms, len(banger.fake.images)) == ({}, 1)


@pytest.mark.parametrize("end", [255, KeyboardInterrupt()])
def test_a_lost_session_loses_nothing(banger: CLIHome, shell: list[Any], end: Any) -> None:
    shell.append(end)
    result = banger("image", "interactive", "debian")
    assert result.status == (255 if end == 255 else 130)
    (vm,) = banger.fake.vms.values()
    assert vm["state"] == "running"
    name = vm["name"]
    assert f"banger stop {name} && banger image keep {name} interactive-debian" in result.stderr
    assert banger("stop", name).status == 0
    kept = banger("image", "keep", name, "interactive-debian")
    assert (kept.status, kept.stdout) == (0, "kept interactive-debian (700 MiB on disk)\n")


def test_what_cannot_be_kept_stays(banger: CLIHome, shell: list[Any]) -> None:
    shell.append(0)
    banger.fake.failures["image.keep"] = {
        "code": "host_not_ready", "brief": "there is not enough disk space", "cause": "1 MiB free",
        "resolution": "free disk space",
    }  # fmt: skip
    result = banger("image", "interactive", "debian", "--out", "tools")
    assert result.status == 9
    assert len(banger.fake.vms) == 1
    assert "banger image keep tools-" in result.stderr


def test_a_vm_that_does_not_start_is_removed(banger: CLIHome, shell: list[Any]) -> None:
    banger.fake.failures["vm.start"] = {
        "code": "vmm_failed", "brief": "no", "cause": "no", "resolution": "banger doctor"
    }  # fmt: skip
    result = banger("image", "interactive", "debian")
    assert result.status != 0
    assert banger.fake.vms == {}
    unknown = banger("image", "interactive", "nothing")
    assert (unknown.status, len(unknown.stderr.splitlines())) == (4, 3)


def test_states() -> None:
    assert set(image_interactive.KEEPABLE) == {str(s) for s in LEGAL[Action.KEEP]}
