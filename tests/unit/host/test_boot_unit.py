"""The unit that starts bangerd at boot: what systemd reads in it, and what comes and goes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from banger.errors import HostNotReady
from banger.host.boot_unit import BootUnit, boot_unit, disable, enable, waits_for_login
from tests.requirements import needs

ARGV = ("/usr/bin/python3", "-P", "-m", "banger.daemon.main")


def _unit(tmp_path: Path, **variables: str) -> BootUnit:
    environ = {"HOME": str(tmp_path), "LANG": "C", **variables}
    return boot_unit(ARGV, environ, tmp_path / "50% full.log", 1000)


def test_a_users_unit(tmp_path: Path) -> None:
    unit = _unit(tmp_path, XDG_RUNTIME_DIR="/run/user/1000", BANGER_NETWORK="user")
    assert unit.path == tmp_path / ".config/systemd/user/bangerd.service"
    assert unit.link.parent.name == "default.target.wants"
    assert 'Environment="XDG_RUNTIME_DIR=/run/user/1000"' in unit.text
    assert 'Environment="BANGER_NETWORK=user"' in unit.text
    assert "LANG" not in unit.text
    assert "KillMode=process" in unit.text
    assert "50%% full.log" in unit.text


def test_no_argument_is_a_variable(tmp_path: Path) -> None:
    unit = boot_unit(("/opt/$HOME/python3",), {}, tmp_path / "log", 1000)
    assert 'ExecStart="/opt/$$HOME/python3"' in unit.text


def test_roots_unit_is_one_of_the_system() -> None:
    unit = boot_unit(ARGV, {"HOME": "/root"}, Path("/root/log"), 0)
    assert unit.path == Path("/etc/systemd/system/bangerd.service")
    assert unit.link.parent.name == "multi-user.target.wants"
    assert "WantedBy=multi-user.target" in unit.text


def test_it_comes_and_goes(tmp_path: Path) -> None:
    unit = _unit(tmp_path)
    assert not unit.enabled
    assert enable(unit, booted=tmp_path)
    assert unit.enabled
    assert not enable(unit, booted=tmp_path)
    # Another build, or other folders: the unit is written anew.
    assert enable(_unit(tmp_path, BANGER_NAMES="off"), booted=tmp_path)
    assert disable(unit)
    assert not disable(unit)
    assert not unit.enabled


def test_without_systemd_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    unit = _unit(tmp_path)
    with pytest.raises(HostNotReady, match="cannot be started at boot") as caught:
        enable(unit, booted=tmp_path / "none")
    assert "banger daemon start" in caught.value.resolution
    assert not unit.path.parent.exists()


def test_who_has_to_log_in_first() -> None:
    session = {"XDG_RUNTIME_DIR": "/run/user/1000"}
    assert waits_for_login("nobody-of-this-name", session, 1000)
    assert waits_for_login("nobody-of-this-name", session, 0)
    assert not waits_for_login("nobody-of-this-name", {}, 0)


@needs("systemd-analyze")
@pytest.mark.parametrize("odd", ["plain", 'a "quoted" 100% $HOME \\ folder'])
def test_systemd_reads_it_as_it_is_meant(tmp_path: Path, odd: str) -> None:
    unit = boot_unit(
        ARGV, {"HOME": str(tmp_path), "XDG_STATE_HOME": f"/srv/{odd}"}, tmp_path / "log", 1000
    )
    assert enable(unit, booted=tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit.path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
