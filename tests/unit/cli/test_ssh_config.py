"""``ssh-config``: what it prints, and what it does to a file that is not ours."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from banger.cli.ssh_include import include_line
from tests.fakes.cli_home import CLIHome
from tests.requirements import needs

OURS = """# Written by banger
\nHost db.vm\n  HostName 127.0.0.1\n  Port 2201
\nHost web.vm\n  HostName 10.0.0.2\n  Port 22
"""
USERS = "Host *\r\n  ForwardAgent yes\n\nHost web.vm\n  User other"


@pytest.fixture
def home(banger: CLIHome) -> CLIHome:
    path = banger.root / "state/banger/ssh/config"
    path.parent.mkdir(parents=True)
    path.write_text(OURS)
    banger.fake.add_vm("web")
    banger.fake.add_vm("db")
    return banger


def test_blocks_are_printed(home: CLIHome) -> None:
    assert home("ssh-config").stdout == OURS.partition("\n\n")[2]
    assert home("ssh-config", "web", "web").stdout == OURS[OURS.index("Host web") :]
    home.fake.add_vm("young")
    refused = home("ssh-config", "web", "young")
    assert (refused.status, refused.stdout) == (4, "")
    assert "it is being made" in refused.stderr
    assert home("ssh-config", "nobody").status == 4


def test_it_is_included_once_and_taken_out_again(home: CLIHome) -> None:
    config = home.root / ".ssh/config"
    assert "now includes" in home("ssh-config", "--install").stdout
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700
    once = config.read_bytes()
    assert "already" in home("ssh-config", "--install").stdout
    assert config.read_bytes() == once
    assert home("ssh-config", "--remove").status == 0
    assert not config.exists()
    assert "does not include" in home("ssh-config", "--remove").stdout


def test_what_the_user_has_stays_as_it_is(home: CLIHome) -> None:
    config = home.root / ".ssh/config"
    config.parent.mkdir()
    config.write_bytes(USERS.encode())
    config.chmod(0o640)
    home("ssh-config", "--install")
    lines = config.read_bytes().split(b"\n")
    assert lines[1] == include_line(home.root / "state/banger/ssh/config").strip()
    assert b"\n".join(lines[2:]) == USERS.encode()
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    # Where somebody moved the line below a Host, it works for that host alone.
    config.write_bytes(USERS.encode() + b"\n" + lines[1] + b"\n")
    home("ssh-config", "--install")
    assert config.read_bytes() == b"\n".join(lines[:2]) + b"\n" + USERS.encode() + b"\n"
    home("ssh-config", "--remove")
    assert config.read_bytes() == USERS.encode() + b"\n"


def test_a_link_stays_a_link(home: CLIHome) -> None:
    kept = home.root / "dotfiles/ssh_config"
    kept.parent.mkdir()
    kept.write_text(USERS)
    config = home.root / ".ssh/config"
    config.parent.mkdir()
    config.symlink_to(kept)
    home("ssh-config", "--install")
    assert config.is_symlink()
    assert kept.read_text().endswith("other")
    assert "Include" in kept.read_text()


def test_odd_targets_are_refused_and_left(home: CLIHome, tmp_path: Path) -> None:
    refused = home("ssh-config", "--install", "--file", str(tmp_path))
    assert (refused.status, len(refused.stderr.splitlines())) == (10, 3)
    refused = home("ssh-config", "--install", "--file", str(tmp_path / "no/where/config"))
    assert (refused.status, len(refused.stderr.splitlines())) == (9, 3)
    assert list(tmp_path.iterdir()) == []
    assert home("ssh-config", "--install", "--remove").status == 2
    assert home("ssh-config", "--install", "web").status == 2


@needs("ssh")
def test_openssh_reads_it_from_an_odd_folder(tmp_path: Path) -> None:
    ours = tmp_path / 'a "b" [c] \\d?' / "config"
    ours.parent.mkdir()
    ours.write_text("Host web.vm\n  Port 2201\n")
    ours.chmod(0o600)
    config = tmp_path / "config"
    config.write_bytes(include_line(ours) + b"Host web.vm\n  Port 99\n  User me\n")
    argv = ["ssh", "-F", os.fspath(config), "-G", "web.vm"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "port 2201" in shown
    assert "user me" in shown
