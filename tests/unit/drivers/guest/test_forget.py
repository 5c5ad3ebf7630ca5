"""A VM's identity leaves a real ext4 file system, and nothing else does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from banger.drivers.guest.base import ForgetTarget
from banger.drivers.guest.forget import HOSTS, KEYS, OWN, forget_identity
from banger.drivers.guest.guest_files import guest_file
from banger.errors import CorruptState
from tests.requirements import needs

pytestmark = needs("e2fsprogs")
MARK = "# The line below is written by banger at each boot."
OURS = f"{MARK}\nssh-ed25519 AAAA banger\n"


def make(path: Path, tree: Path, contents: dict[str, str]) -> Path:
    """An ext4 file of the given files."""
    for name, text in contents.items():
        file = tree / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            file.symlink_to(text[2:])
        else:
            file.write_text(text)
            file.chmod(0o640)
    argv = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d"]
    subprocess.run([*argv, tree, path, "16M"], check=True)
    return path


def debugfs(image: Path, command: str) -> str:
    argv = ["/usr/sbin/debugfs", "-R", command, str(image)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


async def forget(tmp_path: Path, before: dict[str, str], after: dict[str, str]) -> Path:
    base = make(tmp_path / "base.ext4", tmp_path / "base", {"/etc/x": "x"} | before)
    base.chmod(0o444)
    device = make(tmp_path / "kept.ext4", tmp_path / "kept", after)
    device.chmod(0o600)
    # As root, the programs run as nobody and the folders above are closed to them.
    run_as = (65534, 65534) if os.geteuid() == 0 else None
    await forget_identity(ForgetTarget(device, base, tmp_path / "journal", run_as))
    subprocess.run(["/usr/sbin/e2fsck", "-f", "-n", device], check=True, capture_output=True)
    assert (device.stat().st_uid, device.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    assert base.stat().st_mode & 0o777 == 0o444
    assert not (tmp_path / "journal").exists()
    return device


async def test_what_the_base_had_not_is_gone(tmp_path: Path) -> None:
    written = dict.fromkeys(OWN, "of the VM\n")
    layer = {f"/.banger/{name}": "x" for name in ("busybox", "init", "identity.cpio")}
    mine = {"/root/mine": "mine\n", "/etc/ssh/sshd_config": "Port 22\n"}
    hosts = {HOSTS: "127.0.0.1 localhost # banger\n127.0.1.1 web # banger\n", KEYS: OURS}
    image = await forget(tmp_path, {}, written | layer | mine | hosts)
    for path in (*OWN, *layer, *hosts, "/.banger", "/root/.ssh"):
        assert "Type" not in debugfs(image, f"stat {path}"), path
    for path, text in mine.items():
        assert debugfs(image, f"cat {path}") == text


async def test_what_the_base_had_is_back(tmp_path: Path) -> None:
    base = {path: f"of the base: {path}\n" for path in OWN} | {
        "/etc/resolv.conf": "->../run/systemd/resolve/stub-resolv.conf",
        "/etc/machine-id": "",
        "/root/.ssh/other": "",
        HOSTS: "",
    }
    after = dict.fromkeys(OWN, "of the VM\n") | {
        HOSTS: "1.1.1.1 one # banger\n2.2.2.2 two\n",
        KEYS: f"{OURS}ssh-rsa BBBB me\n",
        "/.banger/modules.done": "stamp",
    }
    image = await forget(tmp_path, base, after)
    assert 'Fast link dest: "../run/systemd' in debugfs(image, "stat /etc/resolv.conf")
    for path in OWN:
        if path != "/etc/resolv.conf":
            assert debugfs(image, f"cat {path}") == base[path], path
    found = debugfs(image, "stat /etc/hostname")
    assert "Mode:  0640" in found
    assert f"User:     {os.geteuid()} " in found
    assert debugfs(image, f"cat {HOSTS}") == "2.2.2.2 two\n"
    assert debugfs(image, f"cat {KEYS}") == "ssh-rsa BBBB me\n"
    assert debugfs(image, "cat /.banger/modules.done") == "stamp"


async def test_twice_is_as_once(tmp_path: Path) -> None:
    image = await forget(tmp_path, {"/etc/hostname": "base\n"}, {"/etc/hostname": "web\n"})
    target = ForgetTarget(image, tmp_path / "base.ext4", tmp_path / "journal")
    await forget_identity(target)
    assert debugfs(image, "cat /etc/hostname") == "base\n"


@pytest.mark.parametrize("base", ["none", "text"])
async def test_a_base_that_is_gone_had_nothing(tmp_path: Path, base: str) -> None:
    (tmp_path / "text").write_text("no file system")
    device = make(tmp_path / "kept.ext4", tmp_path / "kept", {"/etc/hostname": "web\n"})
    await forget_identity(ForgetTarget(device, tmp_path / base, tmp_path / "journal"))
    assert debugfs(device, "cat /etc/hostname") == ""
    assert (tmp_path / "text").read_text() == "no file system"


async def test_a_folder_behind_a_link(tmp_path: Path) -> None:
    """The secret goes all the same, and a link itself is not taken for what it leads to."""
    base = {"/etc/ssh/ssh_host_ed25519_key": "base\n"}
    after = {
        "/etc/real/ssh_host_ed25519_key": "of the VM\n",
        "/etc/ssh": "->real",
        "/etc/hostname": "->/etc/passwd",
        "/etc/passwd": "root\n",
        HOSTS: "->/etc/passwd",
    }
    image = await forget(tmp_path, base, after)
    assert debugfs(image, "cat /etc/real/ssh_host_ed25519_key") == "base\n"
    assert "Type" not in debugfs(image, "stat /etc/hostname")
    assert debugfs(image, "cat /etc/passwd") == "root\n"
    assert debugfs(image, "cat /ssh_host_ed25519_key") == ""


async def test_links_without_an_end(tmp_path: Path) -> None:
    device = make(tmp_path / "kept.ext4", tmp_path / "kept", {"/etc/ssh": "->ssh", "/x": ""})
    with pytest.raises(CorruptState, match="cannot be followed"):
        await forget_identity(ForgetTarget(device, tmp_path / "none", tmp_path / "journal"))
    subprocess.run(["/usr/sbin/e2fsck", "-f", "-n", device], check=True, capture_output=True)


def test_the_guest_writes_nothing_else() -> None:
    """What ``settle`` puts into the root is listed here, and the marks are the same."""
    script = guest_file("settle").decode()
    for path in OWN:
        if not path.startswith("/var/lib/systemd"):
            assert f"$N{path}" in script, path
    put = re.findall(r"^ *(?:put|replace) \$B\S+ (\S+)$", script, re.MULTILINE)
    assert len(put) == 8
    files = {path.removeprefix("$N") for path in put} - {"$keys", "$key"}
    assert files <= {*OWN, HOSTS}
    assert MARK in script
    assert "# banger" in script
