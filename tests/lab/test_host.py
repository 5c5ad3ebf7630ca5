"""A developer's host with Firecracker: the ordinary user ``dev``, with root only through sudo.

The tests run in order and share two VMs. What is counted is what the host itself says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.internet import WORLD, WORLD_HOST
from tests.lab import host_restart, qemu_files
from tests.lab.session import Session
from tests.plugins.lab import LabHome
from tests.requirements import needs

pytestmark = needs("lab")
ROOT, UID = "/home/dev/h", 1000
#: The world outside: a namespace called internet with a web server in it.
_INTERNET = f"""ip netns add internet
ip link add up0 type veth peer name world netns internet
ip address add {WORLD_HOST}/24 dev up0; ip link set up0 up
ip -n internet address add {WORLD}/24 dev world
ip -n internet link set world up; ip -n internet link set lo up
mkdir /tmp/www; echo the world >/tmp/www/index.html
setsid ip netns exec internet python3 -m http.server --directory /tmp/www 80 >/dev/null 2>&1 &
for i in $(seq 100); do ip netns exec internet ss -ltn | grep -q ':80 ' && exit 0; sleep 0.1; done
exit 1"""

FETCH = f"import urllib.request as u;print(u.urlopen('http://{WORLD}/',timeout=20).read().decode())"
GREET = "import socket;print(socket.create_connection(('{}',{}),20).recv(7))"


@pytest.fixture(scope="module")
def lab() -> Iterator[Session]:
    """With this machine's QEMU to be installed in it."""
    with Session(more=qemu_files.given()) as session:
        yield session


@pytest.fixture(scope="module")
def dev(lab: Session) -> LabHome:
    """The user's banger, with the root side that ``banger setup`` installs."""
    home = LabHome(lab, ROOT, user="dev", light=True)
    home.environment |= {"BANGER_NAMES": "auto", "BANGER_STORAGE": "dm_snapshot"}
    assert lab.control.run("sudo", "-n", "true", user="dev").returncode != 0
    lab.shell("banger setup --user dev", timeout=120)
    lab.shell(_INTERNET)
    return home


def _vm(banger: LabHome, name: str) -> dict[str, Any]:
    found: dict[str, Any] = banger.json("show", name)
    return found


def _objects(lab: Session) -> dict[str, int]:
    """How many things on the host carry banger's mark, by kind."""
    script = """echo "$(dmsetup table | grep -c ^banger-) $(ip -o link | grep -c ': bgr') \
$(nft list tables | grep -c banger_) $(losetup --list --noheadings | wc -l) \
$(pgrep -c -x firecracker)" || true"""
    numbers = map(int, lab.shell(script).split())
    return dict(zip(("dm", "tap", "table", "loop", "vmm"), numbers, strict=True))


def _greeting_in_the_world(lab: Session) -> str:
    """What the port that is published on the host says to a host of the internet."""
    script = GREET.format(WORLD_HOST, 8022)
    return lab.shell(f'ip netns exec internet python3 -c "{script}"')


def test_the_doctor_has_seen_firecracker_run_a_guest(dev: LabHome) -> None:
    result = dev("doctor", "--json")
    found = json.loads(result.stdout)
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["firecracker"]["status"] == "ok", checks["firecracker"]
    assert "guest ran" in checks["firecracker"]["found"]
    for name in ("root", "device-mapper"):
        assert checks[name]["status"] == "ok", checks[name]
    assert found["drivers"]["network"]["name"] == "tap"


def test_two_vms_reach_the_world_and_each_other(dev: LabHome, lab: Session) -> None:
    assert not any(_objects(lab).values())
    dev.ok("run", "--name", "one", "--vcpu", "1", "--memory", "512", "--nat")
    assert dev.ok("exec", "one", "--", "uname", "-s") == "Linux\n"
    assert _objects(lab) == {"dm": 1, "tap": 1, "table": 1, "loop": 2, "vmm": 1}
    assert dev.ok("exec", "one", "--", "python3", "-c", FETCH).strip() == "the world"
    [stats] = dev.json("stats", "one")
    assert 32 << 20 < stats["proportional_bytes"] <= stats["resident_bytes"]
    assert 0 < stats["overlay_used_bytes"] < stats["overlay_bytes"]

    dev.ok("run", "--name", "two", "--vcpu", "1", "--memory", "512")
    assert _objects(lab) == {"dm": 2, "tap": 2, "table": 1, "loop": 3, "vmm": 2}
    listed = {vm["name"]: vm["address"] for vm in dev.json("ls")}
    assert listed.keys() == {"one", "two"}
    for name, address in listed.items():
        assert lab.shell(f"getent hosts {name}.vm").split()[0] == address
    greet = GREET.format("two.vm", 22)
    assert dev.ok("exec", "one", "--", "python3", "-c", greet) == "b'SSH-2.0'\n"
    dev.ok("exec", "one", "--", "sh", "-c", "echo kept >/root/note; sync")
    dev.ok("rm", "--force", "two")
    assert _objects(lab) == {"dm": 1, "tap": 1, "table": 1, "loop": 2, "vmm": 1}


def test_the_world_reaches_a_published_port(dev: LabHome, lab: Session) -> None:
    dev.ok("vm", "forward", "one", "8022:22")
    assert _greeting_in_the_world(lab) == "b'SSH-2.0'\n"


def test_a_restarted_host_loses_nothing(dev: LabHome, lab: Session) -> None:
    before = _vm(dev, "one")
    host_restart.restart(dev)
    host_restart.until_found_ended(dev, "one")
    assert ".vm" not in lab.shell("cat /etc/hosts")  # nobody can answer under its name
    dev.ok("start", "one")
    assert _objects(lab) == {"dm": 1, "tap": 1, "table": 1, "loop": 2, "vmm": 1}
    assert dev.ok("exec", "one", "--", "cat", "/root/note") == "kept\n"
    assert _vm(dev, "one")["address"] == before["address"]
    assert lab.shell("getent hosts one.vm").split()[0] == before["address"]
    assert dev.ok("exec", "one", "--", "python3", "-c", FETCH).strip() == "the world"
    assert _greeting_in_the_world(lab) == "b'SSH-2.0'\n"


def test_qemu_on_nested_kvm_has_a_device_as_well(dev: LabHome, lab: Session) -> None:
    lab.shell(qemu_files.INSTALL)
    dev.ok("run", "--vmm", "qemu", "--name", "q", "--vcpu", "1", "--memory", "256")
    vm = _vm(dev, "q")
    assert (vm["vmm"], vm["accelerator"], vm["storage"]) == ("qemu", "kvm", "dm_snapshot")
    # The image's loop device is that of Firecracker's VM.
    assert _objects(lab) == {"dm": 2, "tap": 2, "table": 1, "loop": 3, "vmm": 1}

    def used() -> int:
        status = lab.shell(f"dmsetup status banger-{UID}-{vm['id']}")
        return int(status.split()[3].split("/")[0]) * 512

    before = used()
    write = ("dd", "if=/dev/urandom", "of=/root/big", "bs=1M", "count=8", "conv=fsync")
    dev.ok("exec", "q", "--", *write)
    assert used() - before >= 8 << 20
    dev.ok("stop", "q")
    assert _objects(lab) == {"dm": 1, "tap": 1, "table": 1, "loop": 2, "vmm": 1}


def test_delete_and_setup_remove_leave_nothing(dev: LabHome, lab: Session) -> None:
    dev.ok("rm", "--force", "--all")
    assert not any(_objects(lab).values())
    assert ".vm" not in lab.shell("cat /etc/hosts")
    dev.ok("daemon", "stop")
    lab.shell("banger setup --user dev --remove", timeout=120)
    assert lab.shell("ls /etc/sudoers.d /usr/local/lib").count("banger") == 0
