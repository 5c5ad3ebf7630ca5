"""Root drives of device-mapper under real Firecracker, from the first boot to nothing left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.session import Session
from tests.plugins.lab import LabHome
from tests.requirements import needs

pytestmark = needs("lab")
#: A small layer: 40 MiB used are the warning, 48 the pause (16 are kept for what is under way).
SMALL = "64M"


@pytest.fixture(scope="module")
def banger(lab: Session) -> LabHome:
    return LabHome(lab, "/root/h", light=True)


def show(banger: LabHome, name: str) -> dict[str, Any]:
    found: dict[str, Any] = banger.json("show", name)
    return found


def until(banger: LabHome, name: str, state: str, code: str) -> dict[str, Any]:
    deadline = time.monotonic() + 150
    while True:
        vm = show(banger, name)
        if vm["state"] == state and (vm["problem"] or {}).get("code", "") == code:
            return vm
        assert time.monotonic() < deadline, vm
        time.sleep(0.5)


@pytest.mark.timeout(900)
def test_the_whole_life_of_snapshots(banger: LabHome) -> None:
    shell = banger.session.shell
    sizes = ("--vcpu", "1", "--memory", "256M", "--overlay-size", SMALL)
    banger.ok("run", "--name", "web", *sizes)
    web = show(banger, "web")
    assert web["storage"] == "dm_snapshot"  # by itself
    marks = shell("dmsetup info -c --noheadings -o name,uuid").split()
    assert marks == [f"banger-0-{web['id']}:BANGER-0-{web['id']}"]
    # One loop device of the image (test_host: for all VMs), one of the layer.
    loops = shell("losetup --list --noheadings --output BACK-FILE,RO,AUTOCLEAR").splitlines()
    found = {Path(path).name: (ro, auto) for path, ro, auto in map(str.split, loops)}
    assert found == {"rootfs.ext4": ("1", "1"), "root.cow": ("0", "1")}

    # A killed daemon takes nothing along.
    banger.ok("exec", "web", "--", "sh", "-c", "echo kept >/root/kept; sync")
    shell(f"kill -9 {banger.json('daemon', 'status')['pid']}")
    assert show(banger, "web")["state"] == "running"
    counted = int(shell(f"dmsetup status banger-0-{web['id']}").split()[3].split("/")[0]) * 512
    assert abs(show(banger, "web")["overlay_used_bytes"] - counted) <= 1 << 20

    # A guest that writes more than there is room for waits, and loses nothing.
    write = "nohup dd if=/dev/zero of=/root/big bs=1M count=64 conv=fsync >/dev/null 2>&1 &"
    banger.ok("exec", "web", "--", "sh", "-c", write)
    vm = until(banger, "web", "paused", "layer_full")
    assert "vm set web --overlay-size" in vm["problem"]["resolution"]
    status = shell(f"dmsetup status banger-0-{web['id']}")
    used, total = map(int, status.split()[3].split("/"))
    assert (40 << 20) < used * 512 < total * 512
    banger.ok("vm", "set", "web", "--overlay-size", "512M")
    until(banger, "web", "running", "")
    script = "while pgrep -x dd >/dev/null; do sleep 0.2; done; wc -c </root/big; cat /root/kept"
    assert banger.ok("exec", "web", "--", "sh", "-c", script) == f"{64 << 20}\nkept\n"
    assert "Invalid" not in shell("dmsetup status")

    # What is lost is said, and the rest goes away whole.
    banger.ok("kill", "web")
    assert web["id"] not in shell("dmsetup ls")
    shell(f"rm {web['directory']}/root.cow")
    ended, _, said = banger("start", "web")
    assert ended == 10
    assert "all that the VM has written on it is lost" in said
    assert "try:" in said
    banger.ok("rm", "--force", "web")
    left = shell("dmsetup ls; losetup --list --noheadings; ls /dev/dm-* 2>/dev/null || true")
    assert left.strip() == "No devices found"
