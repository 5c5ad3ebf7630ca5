from __future__ import annotations

import os
from pathlib import Path

import pytest

from banger.client.client import BangerClient
from banger.client.copying import Copying, check_source
from banger.client.guest_shell import AgentShell, GuestShell, SSHShell
from banger.errors import CommandFailed, HostNotReady, InvalidInput, NotFound
from tests.fakes.cli_home import CLIHome


@pytest.fixture(params=["agent", "ssh"])
def shell(request: pytest.FixtureRequest, banger: CLIHome) -> GuestShell:
    """Both ways into the guest; in place of OpenSSH a shell on this machine."""
    banger.fake.add_vm("web", state="running")
    if request.param == "agent":
        return AgentShell(BangerClient(str(banger.fake.socket_path)), "web")
    script = banger.root / "ssh"
    script.write_text('#!/bin/sh\nshift\nexec /bin/sh -c "$*"\n')
    script.chmod(0o755)
    return SSHShell([str(script)])


@pytest.fixture
def copying(shell: GuestShell) -> Copying:
    return Copying(shell, "web", many=False, progress=lambda _: None)


@pytest.fixture
def guest(banger: CLIHome) -> Path:
    return banger.guest


def test_files_both_ways(copying: Copying, guest: Path, tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    source = tmp_path / "data"
    source.write_bytes(data)
    source.chmod(0o640)
    copying.to_guest(str(source), str(guest))
    copying.to_guest(str(source), str(guest / "renamed"))
    assert (guest / "data").read_bytes() == (guest / "renamed").read_bytes() == data
    copying.from_guest(str(guest / "data"), str(tmp_path / "back"))
    back = tmp_path / "back"
    assert (back.read_bytes() == data, back.stat().st_mode & 0o777) == (True, 0o640)


def test_folders_as_cp_does(copying: Copying, guest: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (source / "in/file").write_text("x")
    copying.to_guest(str(source), str(guest / "new"))
    assert (guest / "new/in/file").exists()
    copying.to_guest(str(source), str(guest / "new"))
    assert (guest / "new/source/in/file").exists()
    copying.to_guest(f"{source}/.", str(guest / "flat"))
    assert (guest / "flat/in/file").exists()
    copying.from_guest(str(guest / "new"), str(tmp_path / "copy"))
    assert (tmp_path / "copy/source/in/file").exists()
    copying.from_guest(f"{guest}/flat/.", str(tmp_path / "copy"))
    assert (tmp_path / "copy/in/file").exists()
    copying.from_guest(f"{guest}/flat/.", str(tmp_path / "made"))
    assert (tmp_path / "made/in/file").exists()


def test_links_named_are_followed(copying: Copying, guest: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("host")
    (tmp_path / "link").symlink_to("real")
    copying.to_guest(str(tmp_path / "link"), str(guest))
    assert (guest / "link").read_text() == "host"
    (guest / "os-release").symlink_to("link")
    copying.from_guest(str(guest / "os-release"), str(tmp_path))
    assert (tmp_path / "os-release").read_text() == "host"
    assert not (tmp_path / "os-release").is_symlink()


def test_what_is_missing_is_told(copying: Copying, guest: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no .*nope in web"):
        copying.from_guest(str(guest / "nope"), str(tmp_path))
    with pytest.raises(NotFound, match="nope cannot be copied"):
        copying.to_guest(str(tmp_path / "nope"), str(guest))
    (tmp_path / "file").write_text("x")
    (guest / "file").write_text("x")
    for target in ("no/such", "no/"):
        with pytest.raises(NotFound, match="there is no folder") as caught:
            copying.to_guest(str(tmp_path / "file"), f"{guest}/{target}")
        assert caught.value.resolution.startswith("banger exec web -- mkdir -p ")
        with pytest.raises(NotFound, match="there is no folder"):
            copying.from_guest(str(guest / "file"), f"{tmp_path}/{target}")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInput, match="is a file"):
        copying.to_guest(str(tmp_path / "folder"), str(guest / "file"))
    with pytest.raises(InvalidInput, match="is a file"):
        copying.from_guest(str(guest), str(tmp_path / "file"))


def test_names_with_blanks_dashes_and_quotes(copying: Copying, guest: Path, tmp_path: Path) -> None:
    for name in ("a b", "-rf", "it's", "ünï", "$(x)"):
        (tmp_path / name).write_text(name)
        copying.to_guest(str(tmp_path / name), str(guest))
        assert (guest / name).read_text() == name
        copying.from_guest(str(guest / name), str(tmp_path / "back"))
        assert (tmp_path / "back").read_text() == name


def test_a_guest_without_tar(
    shell: GuestShell, guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "f"
    source.write_text("x")
    copying = Copying(shell, "web", many=False, progress=lambda _: None)
    feed, read = shell.feed, shell.read
    monkeypatch.setattr(shell, "feed", lambda argv, pieces: feed(["sh", "-c", "exit 127"], pieces))
    with pytest.raises(HostNotReady):
        copying.to_guest(str(source), str(guest))
    monkeypatch.setattr(
        shell,
        "read",
        lambda argv, take: read(["sh", "-c", "exit 1"] if argv[0] == "tar" else argv, take),
    )
    with pytest.raises(CommandFailed):
        copying.from_guest(str(guest), str(tmp_path / "x"))


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    assert check_source("d/") == (str(tmp_path / "d"), "d")
    assert check_source("d/.") == (str(tmp_path / "d"), ".")
    assert check_source(".") == (str(tmp_path), ".")
    assert check_source("d/..") == (str(tmp_path), tmp_path.name)
