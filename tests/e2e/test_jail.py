"""Firecracker under the real jailer, through all of banger, with tiny guests."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from banger.privileged.jail_calls import FIRST_UID, JAILS, UIDS
from tests.e2e import test_firecracker
from tests.firecracker_home import OPTIONS, create, start_daemon, state, until
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("root", "tap", "e2fsprogs", "firecracker", "bare-kvm")
#: The fixtures: a home with a Firecracker and a tiny kernel, and one that leaves nothing.
banger, clean = test_firecracker.banger, test_firecracker.clean


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def jail_of(banger: Home, name: str) -> Path:
    return JAILS / f"banger-{os.geteuid()}-{banger.json('show', name)['id']}"


def start(banger: Home, name: str, *options: str) -> int:
    create(banger, "--name", name, "--jail", *options)
    banger.ok("start", name, "--no-wait")
    return int(banger.json("show", name)["pid"])


@pytest.mark.usefixtures("clean")
def test_what_a_jailed_vmm_is_and_has(banger: Home) -> None:
    pid = start(banger, "web")
    until(lambda: "tiny guest up" in banger.ok("logs", "web"))
    shown = banger.json("show", "web")
    assert (shown["state"], shown["jail"]) == ("running", True)
    status = status_of(pid)
    uids = set(status["Uid"].split() + status["Gid"].split())
    assert len(uids) == 1
    assert FIRST_UID <= int(uids.pop()) < FIRST_UID + UIDS
    assert (status["CapEff"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "1", "2")
    assert (status["Groups"], status["NSpid"].split()) == ("", [str(pid), "1"])
    for kind in ("pid", "mnt"):
        theirs, ours = Path(f"/proc/{pid}/ns/{kind}"), Path(f"/proc/self/ns/{kind}")
        assert theirs.readlink() != ours.readlink()
    inside = Path(f"/proc/{pid}/root")
    names = {path.name for path in inside.iterdir()}
    assert {"kernel", "drive_root", "s", "dev", "firecracker"} <= names
    assert not names & {"proc", "etc", "home", "usr", "tmp"}
    # Nothing of what the host sees can be written by the jail any more.
    jail = jail_of(banger, "web")
    for folder in (JAILS, jail, jail / "s"):
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o7022) == (0, 0)
    assert {path.name for path in (jail / "s").iterdir()} == {"api.sock", "vsock.sock"}
    for path in (jail / "s").iterdir():
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    assert str(jail) not in Path("/proc/self/mounts").read_text()
    banger.ok("rm", "--force", "web")
    assert not jail.exists()
    until(lambda: not Path(f"/proc/{pid}").exists())  # the host's first process reaps it


@pytest.mark.usefixtures("clean")
def test_a_whole_life_in_jails(banger: Home) -> None:
    start(banger, "web")
    jail = jail_of(banger, "web")
    banger.ok("vm", "pause", "web")
    assert state(banger, "web") == "paused"
    banger.ok("vm", "resume", "web")
    banger.ok("kill", "web")
    assert banger.json("show", "web")["last_exit"]["reason"] == "killed"
    assert not jail.exists()
    banger.ok("start", "web", "--no-wait")
    assert jail.exists()
    banger.ok("stop", "web", "--timeout", "1s")
    assert state(banger, "web") == "stopped"
    assert not jail.exists()


@pytest.mark.usefixtures("clean")
def test_a_daemon_that_is_killed_finds_its_jails_again(banger: Home) -> None:
    pid = start(banger, "web")
    os.kill(banger.json("daemon", "status")["pid"], signal.SIGKILL)
    start_daemon(banger)
    shown = banger.json("show", "web")
    assert (shown["state"], shown["pid"]) == ("running", pid)
    banger.ok("vm", "pause", "web")
    banger.ok("vm", "resume", "web")
    # And one that goes while no daemon looks.
    jail = jail_of(banger, "web")
    os.kill(banger.json("daemon", "status")["pid"], signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    start_daemon(banger)
    until(lambda: state(banger, "web") == "stopped")
    until(lambda: not jail.exists())
    assert banger.json("show", "web")["last_exit"]["reason"] == "vmm-died"


@pytest.mark.usefixtures("clean")
def test_ten_at_once_are_ten_users(banger: Home) -> None:
    with ThreadPoolExecutor(10) as pool:
        pids = list(pool.map(lambda number: start(banger, f"vm{number}"), range(10)))
    assert len({status_of(pid)["Uid"] for pid in pids}) == 10
    assert {vm["state"] for vm in banger.json("ls")} == {"running"}
    banger.ok("kill", "--all")
    assert not [path for path in JAILS.glob("*") if path.is_dir() and _is_of(banger, path)]


def _is_of(banger: Home, jail: Path) -> bool:
    return any(jail.name.endswith(vm["id"]) for vm in banger.json("ls"))


@pytest.mark.usefixtures("clean")
def test_what_goes_wrong_in_a_jail_is_said(banger: Home) -> None:
    create(banger, "--name", "web", "--jail")
    jail = jail_of(banger, "web")
    jailer = banger.paths.firecracker / "jailer"
    content = jailer.read_bytes()
    for wrong, words in ((None, "jailer"), (content + b"x", "not the program that it should be")):
        jailer.unlink()
        if wrong is not None:
            jailer.write_bytes(wrong)
        result = banger("start", "web", "--no-wait")
        assert result.status != 0
        assert words in result.stderr
        assert re.search(r"^  cause:", result.stderr, re.MULTILINE)
        assert not jail.exists()
        jailer.write_bytes(content)
        jailer.chmod(0o755)
    # What an earlier one left behind is no obstacle.
    (jail / "jail").mkdir(parents=True)
    (jail / "record.json").write_text("{}")
    banger.ok("start", "web", "--no-wait")
    assert state(banger, "web") == "running"


@pytest.mark.usefixtures("clean")
def test_a_vmm_without_a_jailer_is_refused_one(banger: Home) -> None:
    files = ("--kernel", str(banger.root / "kernel"), "--rootfs", str(banger.root / "root.ext4"))
    options = [option if option != "firecracker" else "qemu" for option in OPTIONS]
    result = banger("create", *options, *files, "--jail")
    assert result.status == 2
    assert "qemu cannot run in a jail" in result.stderr
    assert banger.json("ls") == []
