"""``setup``: what it shows, and what it says where it may not work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from banger.cli import setup
from banger.host import root_side
from banger.host.root_side import Place
from banger.privileged import sudoers
from tests.fakes.cli_home import CLIHome


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """A host on which nothing is installed, and nothing can be."""
    place = Place(tmp_path / "lib/banger-privileged", tmp_path / "sudoers.d")
    monkeypatch.setattr(setup, "Place", lambda: place)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(root_side, "tun_is_closed", lambda: True)
    return place


def test_a_dry_run_shows_everything_and_does_nothing(banger: CLIHome, nowhere: Place) -> None:
    result = banger("setup", "--dry-run", "--user", "1000")
    assert result.status == 0
    for line in sudoers.render(1000, nowhere.prefix).splitlines():
        assert f"    {line}\n" in result.stdout
    assert f"write {nowhere.prefix}/banger/privileged/checks.py" in result.stdout
    assert "/dev/net/tun" in result.stdout
    assert not nowhere.prefix.parent.exists()


def test_root_needs_none(banger: CLIHome) -> None:
    result = banger("setup", "--dry-run", "--user", "0")
    assert (result.status, result.stdout) == (0, "")
    assert "root needs no root side" in result.stderr


@pytest.mark.parametrize("option", ["", "--remove"])
def test_an_ordinary_user_is_told_to_use_sudo(banger: CLIHome, option: str) -> None:
    result = banger("setup", *filter(None, [option]), "--user", "1000")
    assert result.status == 6
    assert "sudo " in result.stderr


def test_a_firecracker_is_shown_before_it_is_fetched(banger: CLIHome) -> None:
    result = banger("setup", "--firecracker", "fetch", "--dry-run")
    assert result.status == 0
    assert "SHA-256" in result.stdout
    assert not (banger.root / "data").exists() or not list((banger.root / "data").rglob("fire*"))


def test_a_file_that_is_no_firecracker_is_refused(banger: CLIHome) -> None:
    for source in ("/bin/true", "/nowhere/firecracker"):
        result = banger("setup", "--firecracker", source)
        assert result.status == 9, result.stderr
        assert "try:" in result.stderr


def test_sudo_is_not_for_firecracker(banger: CLIHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = banger("setup", "--firecracker", "fetch", SUDO_UID="1000")
    assert result.status == 2
    assert "banger setup --firecracker fetch" in result.stderr


@pytest.mark.parametrize("name", ["no such user", "99999999999999999999x", "-1"])
def test_unknown_users_are_refused(banger: CLIHome, name: str) -> None:
    assert banger("setup", f"--user={name}", "--dry-run").status == 2


def test_the_line_names_one_command_without_wildcard() -> None:
    (line,) = (text for text in sudoers.render(1000).splitlines() if not text.startswith("# "))
    assert line == (
        '#1000 ALL=(root) NOPASSWD:NOSETENV: /usr/local/lib/banger-privileged/banger-privileged ""'
    )
    assert not set("*?[]!\\") & set(line)
