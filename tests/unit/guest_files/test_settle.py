"""How a VM's identity is written into a root: by the script of guests, with the shell of guests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fakes.agent_port import GUEST_FILES
from tests.requirements import needs

pytestmark = needs("busybox")
OURS = "127.0.0.1 localhost # banger\n127.0.1.1 web # banger\n"
MARK = "# The line below is written by banger at each boot.\n"
FILES = {
    "etc/hostname": ("web\n", 0o644),
    "etc/machine-id": (f"{'ab' * 16}\n", 0o444),
    "etc/resolv.conf": ("nameserver 1.1.1.1\n", 0o644),
    "ssh/ssh_host_ed25519_key": ("-----BEGIN\n  c2VjcmV0\\n\n-----END\n", 0o600),
    "ssh/ssh_host_ed25519_key.pub": ("ssh-ed25519 AAAA\n", 0o644),
    "hosts": ("127.0.0.1 localhost\n127.0.1.1 web\n", 0o644),
    "authorized_key": ("ssh-ed25519 BBBB banger\n", 0o600),
}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """What travels with the VM."""
    folder = tmp_path / "given"
    for name, (text, mode) in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "etc/ssh").mkdir(parents=True)
    (folder / "root").mkdir()
    return folder


def boot(given: Path, root: Path, command: str = "write_identity") -> str:
    """Run a function of the script; what it said."""
    script = f"N={root} B={given}; . {GUEST_FILES}/settle; {command}"
    done = subprocess.run(
        ["busybox", "sh", "-uc", script], capture_output=True, text=True, check=True, umask=0o022
    )
    return done.stdout + done.stderr


def files_of(root: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(root)): (path.read_text(), path.stat().st_mode & 0o777)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_first_boot_and_one_that_has_nothing_to_write(given: Path, root: Path) -> None:
    assert boot(given, root) == ""
    wanted = {f"etc/{name}": FILES[name] for name in FILES if name.startswith("ssh/")}
    wanted |= {name: FILES[name] for name in FILES if name.startswith("etc/")}
    wanted["etc/hosts"] = (OURS, 0o644)
    wanted["root/.ssh/authorized_keys"] = (f"{MARK}{FILES['authorized_key'][0]}", 0o600)
    assert files_of(root) == wanted
    assert (root / "root/.ssh").stat().st_mode & 0o777 == 0o700

    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert boot(given, root) == ""
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize(
    "text", ["", "we", "web", "web\n\n", "web\nx\n", " web\n", "web \n", "x\n"]
)
def test_a_file_that_differs_is_replaced(given: Path, root: Path, text: str) -> None:
    boot(given, root)
    path = root / "etc/hostname"
    path.write_text(text)
    path.chmod(0o600)
    assert boot(given, root) == ""
    assert (path.read_text(), path.stat().st_mode & 0o777) == FILES["etc/hostname"]


def test_links_and_folders_of_the_root_lead_nowhere_else(given: Path, root: Path) -> None:
    away = root.parent / "away"
    away.write_text("mine\n")
    (root / "etc/resolv.conf").symlink_to(away)
    (root / "etc/machine-id").symlink_to("/nowhere/at/all")
    assert boot(given, root) == ""
    assert away.read_text() == "mine\n"
    assert not (root / "etc/resolv.conf").is_symlink()
    assert files_of(root)["etc/machine-id"] == FILES["etc/machine-id"]


@pytest.mark.parametrize(
    "users",
    ["", "10.0.0.1 db\n", "10.0.0.1 db", "# b\\n \t c\n\n10.0.0.1 db # banger no\n", "-n\n-e x\n"],
)
def test_the_users_own_hosts_and_keys_stay(given: Path, root: Path, users: str) -> None:
    hosts, keys = root / "etc/hosts", root / "root/.ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700)
    hosts.write_text(users)
    keys.write_text(users)
    for _ in range(2):
        assert boot(given, root) == ""
        ours = f"{MARK}{FILES['authorized_key'][0]}"
        # Where the last line has no end, sed may add it.
        assert hosts.read_text().rstrip("\n") == (OURS + users).rstrip("\n")
        assert keys.read_text().rstrip("\n") == (ours + users).rstrip("\n")
    assert keys.stat().st_mode & 0o777 == 0o600


def test_lines_of_an_older_name_or_key_are_taken_away(given: Path, root: Path) -> None:
    boot(given, root)
    hosts, keys = root / "etc/hosts", root / "root/.ssh/authorized_keys"
    for old in (
        f"{OURS}fe00::0 more # banger\n10.0.0.1 db\n",  # there were more
        "127.0.0.1 localhost # banger\n127.0.1.1 old # banger\n10.0.0.1 db\n",
        f"10.0.0.1 db\n{OURS}",  # the user has put them elsewhere
    ):
        hosts.write_text(old)
        boot(given, root)
        assert hosts.read_text() == f"{OURS}10.0.0.1 db\n"
    ours = f"{MARK}{FILES['authorized_key'][0]}"
    for old in (f"{MARK}old\nmine\n", f"{ours}{MARK}old\nmine\n", f"mine\n{ours}"):
        keys.write_text(old)
        boot(given, root)
        assert keys.read_text() == f"{ours}mine\n"


def test_a_key_of_dropbear_is_no_text(given: Path, root: Path) -> None:
    (root / "etc/dropbear").mkdir()
    source = given / "ssh/dropbear_ed25519_host_key"
    target = root / "etc/dropbear/dropbear_ed25519_host_key"
    for content in (b"\0\n\0" + os.urandom(64), b"\0\n\1" + os.urandom(64)):
        source.write_bytes(content)
        source.chmod(0o600)
        boot(given, root)
        assert target.read_bytes() == content
    assert target.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_said(given: Path, root: Path) -> None:
    (root / "etc/hostname").mkdir()
    (root / "etc/hostname/x").touch()
    (root / "etc/hostname.banger").mkdir()
    (root / "etc/hostname.banger/hostname").mkdir()
    assert "banger: /etc/hostname cannot be written" in boot(given, root)
    assert files_of(root)["etc/machine-id"] == FILES["etc/machine-id"]
