"""What a user does with VMs all day: the same tests on this host and on the lab's Firecracker.

They share one VM and run in the order of its life: each begins with ``web`` running.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.built_image import ensure_built
from tests.plugins.fixtures import temporary_home
from tests.plugins.home import CommandLine
from tests.plugins.lab import LabHome
from tests.requirements import needs

WORLDS = [
    pytest.param("here", marks=needs("qemu", "image", "ssh")),
    pytest.param("lab", marks=needs("lab")),
]


@pytest.fixture(scope="module", params=WORLDS)
def banger(request: pytest.FixtureRequest) -> Iterator[CommandLine]:
    """banger with its image on one of the two hosts."""
    if request.param == "lab":
        yield LabHome(request.getfixturevalue("lab"), "/root/h")
        return
    with temporary_home() as home:
        ensure_built().give_to(home.paths)
        yield home


@pytest.fixture
def web(banger: CommandLine) -> CommandLine:
    """The same, with the VM ``web`` running, whatever an earlier test did to it."""
    state = {vm["name"]: vm["state"] for vm in banger.json("ls")}.get("web")
    if state is None:
        banger.ok("run", "--name", "web", "--vcpu", "1", "--memory", "512")
    elif state != "running":
        banger.ok("start", "web")
    return banger


def _vm(banger: CommandLine) -> dict[str, Any]:
    found: dict[str, Any] = banger.json("show", "web")
    return found


def _await_end(banger: CommandLine) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while (vm := _vm(banger))["state"] in {"running", "stopping"}:
        assert time.monotonic() < deadline, "the guest does not end"
        time.sleep(0.2)
    return vm


def test_exec_passes_streams_bytes_and_status(web: CommandLine) -> None:
    data = bytes(range(256)) * 512
    done = web.run_bytes("exec", "web", "--", "sh", "-c", "cat; echo oops >&2; exit 7", stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (7, data, b"oops\n")
    assert web("exec", "web", "--", "no-such-program").status == 127
    system = web.ok("exec", "web", "--", "uname", "-a")
    print(system)
    assert system.startswith("Linux web ")


def test_ssh_passes_output_and_status(web: CommandLine) -> None:
    result = web("ssh", "web", "--", "hostname; exit 3")
    assert (result.status, result.stdout) == (3, "web\n"), result.stderr


def test_files_and_folders_come_back_identical(web: CommandLine) -> None:
    data = random.Random(1).randbytes(2 << 20)
    # Made there: on its way through the lab's serial port it would take 20 s.
    make = "import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes(2 << 20))"
    script = (
        f"mkdir -p $HOME/site/deep; python3 -c '{make}' >$HOME/site/deep/'odd name';"
        " chmod 4711 $HOME/site/deep/odd*"
    )
    assert web.on_host("sh", "-c", script).returncode == 0
    folder = web.on_host("sh", "-c", "echo $HOME").stdout.decode().strip()
    web.ok("cp", f"{folder}/site", "web:/srv/")
    digest = web.ok("exec", "web", "--", "sha256sum", "/srv/site/deep/odd name").split()[0]
    assert digest == hashlib.sha256(data).hexdigest()
    web.ok("cp", "web:/srv/site", f"{folder}/back")
    web.ok("cp", "web:/srv/site/deep/odd name", f"{folder}/file")
    for path in ("back/deep/odd name", "file"):
        assert web.on_host("cat", f"{folder}/{path}").stdout == data, path
    assert web.on_host("test", "-x", f"{folder}/back/deep/odd name").returncode == 0


def test_the_list_and_the_console_are_true(web: CommandLine) -> None:
    (vm,) = web.json("ls")
    assert (vm["name"], vm["state"]) == ("web", "running")
    assert vm["id"].encode() in web.on_host("cat", f"/proc/{vm['pid']}/cmdline").stdout
    assert web.ok("logs", "web", "--raw")


def test_a_killed_daemon_costs_nothing(web: CommandLine) -> None:
    boot = ("exec", "web", "--", "cat", "/proc/sys/kernel/random/boot_id")
    before, vm = web.ok(*boot), _vm(web)
    web.on_host("kill", "-KILL", str(web.json("daemon", "status")["pid"]))
    assert web.ok(*boot) == before
    assert _vm(web)["pid"] == vm["pid"]


def test_stop_and_start_keep_disk_address_and_mac(web: CommandLine) -> None:
    web.ok("exec", "web", "--", "sh", "-c", "echo kept >/root/note; sync")
    before = _vm(web)
    web.ok("stop", "web")
    stopped = _vm(web)
    assert (stopped["state"], stopped["pid"] or None) == ("stopped", None)
    web.ok("start", "web")
    after = _vm(web)
    assert web.ok("exec", "web", "--", "cat", "/root/note") == "kept\n"
    for key in ("id", "address", "mac", "ssh_host", "ssh_port"):
        assert after[key] == before[key], key


@pytest.mark.parametrize(
    ("command", "reason"), [("reboot", "guest-reboot"), ("poweroff", "guest-shutdown")]
)
def test_a_guest_that_ends_itself_is_recorded(web: CommandLine, command: str, reason: str) -> None:
    # Commands are taken before systemd is: it must be there to be asked.
    script = f"until [ -S /run/systemd/private ]; do sleep 0.2; done; {command}"
    asked = web("exec", "web", "--", "sh", "-c", script)
    assert asked.status == 0, asked
    vm = _await_end(web)
    assert (vm["state"], vm["last_exit"]["reason"]) == ("stopped", reason)


def test_delete_leaves_nothing(banger: CommandLine) -> None:
    vm = _vm(banger)  # stopped: running ones are deleted everywhere else
    banger.ok("rm", "--force", "web")
    assert banger.json("ls") == []
    assert banger.on_host("ip", "link", "show", f"bgr{vm['id']}").returncode != 0
    assert banger.on_host("pgrep", "-f", str(vm["id"])).returncode != 0
    assert vm["id"].encode() not in banger.on_host("cat", "/proc/mounts").stdout
    home = "$XDG_STATE_HOME/banger/vms $XDG_RUNTIME_DIR/banger/vms"
    assert banger.on_host("sh", "-c", f"find {home} -mindepth 1").stdout == b""
