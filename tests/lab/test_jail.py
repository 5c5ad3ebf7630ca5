"""Linux guests under the jailer, for root and for an ordinary user, on a host with cgroup v2."""

from __future__ import annotations

import time
from typing import Any

from tests.lab import host_restart
from tests.lab.session import Session
from tests.plugins.lab import LabHome
from tests.requirements import needs

pytestmark = needs("lab")
OPTIONS = ("--jail", "--vcpu", "1", "--memory", "256M", "--name", "web")


def show(banger: LabHome) -> dict[str, Any]:
    found: dict[str, Any] = banger.json("show", "web")
    return found


def assert_jailed(banger: LabHome, lab: Session) -> dict[str, Any]:
    """What the kernel says of the running Firecracker; the VM, whose it is."""
    vm, uid = show(banger), 0 if banger.user == "root" else 1000
    assert (vm["state"], vm["jail"]) == ("running", True)
    pid = vm["pid"]
    status = dict(line.split(":", 1) for line in lab.shell(f"cat /proc/{pid}/status").splitlines())
    assert 1_900_000_000 <= int(status["Uid"].split()[0]) < 1_900_065_536
    assert (status["CapEff"].strip("\t0"), status["NoNewPrivs"].strip()) == ("", "1")
    assert (status["Seccomp"].strip(), status["NSpid"].split()) == ("2", [str(pid), "1"])
    group = f"/sys/fs/cgroup/banger-{uid}/banger-{uid}-{vm['id']}"
    # Beside Firecracker the kernel puts a thread of KVM's into the group.
    assert str(pid) in lab.shell(f"cat {group}/cgroup.procs").split()
    limits = lab.shell(f"cd {group}; cat memory.max cpu.weight pids.max").split()
    assert limits == [str((256 + 256) << 20), "100", "31"]
    # The root side that started it has ended, and with it sudo: one that is there looks at a layer.
    deadline = time.monotonic() + 60
    find = "pgrep -f [b]anger-privileged || true"
    left = set(lab.shell(find).split())
    while left:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
        left &= set(lab.shell(find).split())
    return vm


def assert_nothing_left(lab: Session) -> None:
    script = """set +e; ls -d /run/banger-jail /sys/fs/cgroup/banger-*; pgrep firecracker
dmsetup ls; losetup --list --noheadings; ip -o link | grep bgr; nft list tables; true"""
    assert lab.shell(script) == "No devices found\n"


def test_a_jailed_guest_on_a_copy(lab: Session) -> None:
    banger = LabHome(lab, "/root/h", light=True)
    banger.ok("run", *OPTIONS, "--storage", "copy")
    pid = assert_jailed(banger, lab)["pid"]
    assert "Linux" in banger.ok("exec", "web", "--", "uname")
    lab.shell(f"kill -KILL {banger.json('daemon', 'status')['pid']}")
    banger.ok("daemon", "start")
    assert show(banger)["pid"] == pid
    banger.ok("stop", "web")
    assert show(banger)["last_exit"]["reason"] in ("stopped", "guest-shutdown")
    banger.ok("rm", "--force", "web")
    assert_nothing_left(lab)
    banger.ok("daemon", "stop")


def test_an_ordinary_users_jailed_guest_on_a_snapshot(lab: Session) -> None:
    lab.shell("banger setup --user dev", timeout=120)
    banger = LabHome(lab, "/home/dev/h", user="dev", light=True)
    banger.ok("run", *OPTIONS, "--disk-size", "64M")
    assert assert_jailed(banger, lab)["storage"] == "dm_snapshot"
    boot = ("exec", "web", "--", "cat", "/proc/sys/kernel/random/boot_id")
    before = banger.ok(*boot)
    banger.ok("exec", "web", "--", "sh", "-c", "cd /work; echo kept | tee /root/note note; sync")

    banger.ok("vm", "pause", "web")
    assert show(banger)["state"] == "paused"
    [paused] = banger.json("stats", "web")
    banger.ok("vm", "resume", "web")
    assert banger.ok(*boot) == before
    [used] = banger.json("stats", "web")
    assert used["cpu_seconds"] > paused["cpu_seconds"] > 0
    assert used["resident_bytes"] > 32 << 20
    assert used["disk_written_bytes"] > 0
    assert 0 < used["overlay_used_bytes"] < used["overlay_bytes"]
    assert used["received_packets"] > 0 < used["sent_packets"]

    host_restart.restart(banger)
    host_restart.until_found_ended(banger, "web")
    banger.ok("start", "web")
    assert_jailed(banger, lab)
    assert banger.ok("exec", "web", "--", "sh", "-c", "cd /work; cat /root/note note") == (
        "kept\nkept\n"
    )

    # All that the user knew of the VM is lost, while it runs: what is left is found by its mark.
    banger.ok("daemon", "stop")
    lab.shell("rm -r /home/dev/h/state/banger", user="dev")
    leaked = {each["kind"] for each in banger.json("system", "prune", "--yes")}
    assert leaked >= {"process", "jail", "device", "loop", "interface", "sockets"}
    assert_nothing_left(lab)
