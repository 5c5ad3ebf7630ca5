"""Linux guests under the jailer, for root and for an ordinary user, on a host with cgroup v2."""

from __future__ import annotations

import json

import pytest

from tests.lab.session import Session
from tests.requirements import needs

pytestmark = [needs("lab"), pytest.mark.slow]
OPTIONS = "--vmm firecracker --jail --vcpu 1 --memory 256M --storage copy --name web"


@pytest.mark.parametrize("user", ["root", "dev"])
def test_a_jailed_linux_guest(lab: Session, user: str) -> None:
    home = "/root" if user == "root" else f"/home/{user}"
    if user != "root":
        lab.shell("banger setup --user dev", timeout=120)
        lab.shell(f"mkdir -p -m 0700 {home}/.local/state; chown -R {user}: {home}")
    lab.give_image(f"{home}/.local/state/banger", user=user)

    def banger(command: str) -> str:
        return lab.shell(f"export BANGER_NAMES=off; banger {command}", user=user, timeout=200)

    banger(f"run {OPTIONS}")
    shown = json.loads(banger("show web --json"))
    assert (shown["state"], shown["jail"]) == ("running", True)
    pid, uid = shown["pid"], 0 if user == "root" else 1000
    status = dict(line.split(":", 1) for line in lab.shell(f"cat /proc/{pid}/status").splitlines())
    assert 1_900_000_000 <= int(status["Uid"].split()[0]) < 1_900_065_536
    assert (status["CapEff"].strip("\t0"), status["NoNewPrivs"].strip()) == ("", "1")
    assert (status["Seccomp"].strip(), status["NSpid"].split()) == ("2", [str(pid), "1"])
    group = f"/sys/fs/cgroup/banger-{uid}/banger-{uid}-{shown['id']}"
    # Beside Firecracker the kernel puts a thread of KVM's into the group.
    assert str(pid) in lab.shell(f"cat {group}/cgroup.procs").split()
    limits = lab.shell(f"cd {group}; cat memory.max cpu.weight pids.max").split()
    assert limits == [str((256 + 256) << 20), "100", "31"]
    # The root side has ended, and with it sudo.
    assert lab.shell("pgrep -f [b]anger-privileged || true") == ""
    assert "Linux" in banger("exec web -- uname")
    daemon = json.loads(banger("daemon status --json"))["pid"]
    lab.shell(f"kill -KILL {daemon}", user=user)
    banger("daemon start")
    assert json.loads(banger("show web --json"))["pid"] == pid
    banger("stop web")
    assert json.loads(banger("show web --json"))["last_exit"]["reason"] in (
        "stopped",
        "guest-shutdown",
    )
    if user != "root":
        banger("start web")
    banger("rm --force web")
    assert lab.shell("ls /run/banger-jail; ls -d /sys/fs/cgroup/banger-* 2>&1 || true").count(
        "No such file"
    )
    assert lab.shell("ls -d /run/banger-jail; pgrep -x firecracker || true") == ""
    banger("daemon stop")
