"""One VM from its creation to its end, and what becomes of it on the way."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.plain_ssh import config_of, plain
from tests.plugins.home import Home
from tests.requirements import needs

#: What a VM keeps whatever becomes of the daemon and its database.
LASTING = (
    "id", "name", "state", "image_id", "memory_mib", "address", "mac", "ssh_port", "pid",
    "created_at", "started_at", "forwards",
)  # fmt: skip

pytestmark = needs("qemu", "image", "ssh")


def _vm(home: Home, name: str) -> dict[str, Any]:
    found = home.json("show", name)
    vm: dict[str, Any] = found[0] if isinstance(found, list) else found
    return vm


def _await_state(home: Home, name: str, state: str, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (vm := _vm(home, name))["state"] != state:
        assert time.monotonic() < deadline, f"{name} is {vm['state']}, not {state}"
        time.sleep(0.2)
    return vm


def test_stop_and_start_keep_disk_address_and_mac(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    banger.ok("run", "--name", "web")
    banger.ok("exec", "web", "--", "sh", "-c", "echo kept >/root/note; sync")
    before = _vm(banger, "web")
    config_of(banger)
    banger.ok("stop", "web")
    stopped = _vm(banger, "web")
    banger.ok("rename", "web", "shop")
    banger.ok("rename", "shop", "web")
    assert (stopped["state"], stopped["pid"] or None) == ("stopped", None)
    banger.ok("start", "web")
    after = _vm(banger, "web")
    assert banger.ok("exec", "web", "--", "cat", "/root/note") == "kept\n"
    assert plain(banger, "ssh", "web.vm", "cat /root/note") == "kept\n"
    for key in ("id", "address", "mac", "ssh_host", "ssh_port"):
        assert after[key] == before[key], key
    banger.ok("rm", "--force", "web")
    assert banger.json("ls") == []


def test_a_reboot_of_the_guest_ends_the_vm(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    banger.ok("run", "--name", "web")
    pid = _vm(banger, "web")["pid"]
    # At once: a command waits for systemd, which the fast profile starts a moment later.
    asked = banger("exec", "web", "--", "reboot")
    assert asked.status == 0, asked
    vm = _await_state(banger, "web", "stopped")
    assert vm["last_exit"]["reason"] == "guest-reboot"
    assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110 - a process, not a file of ours
    banger.ok("start", "web")
    banger.ok("exec", "web", "--", "true")  # waits for systemd too, as ssh does not
    asked = banger("ssh", "web", "--", "sync; poweroff")
    assert asked.status == 0, asked
    vm = _await_state(banger, "web", "stopped")
    assert vm["last_exit"]["reason"] == "guest-shutdown"
    # What answers a client says so: "ASGI callable returned without completing response".
    assert "ASGI" not in banger.paths.daemon_log.read_text()
    banger.ok("rm", "web")


def test_a_killed_daemon_costs_nothing(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    banger.ok("run", "--name", "web")
    boot = banger.ok("exec", "web", "--", "cat", "/proc/sys/kernel/random/boot_id")
    log = banger.paths.console_log(_vm(banger, "web")["id"])
    with log.open("ab") as file:
        file.write(b"a guest that floods its console\r\n" * 200_000)
    os.kill(banger.json("daemon", "status")["pid"], signal.SIGKILL)
    # Without a daemon too somebody keeps its log short.
    deadline = time.monotonic() + 20
    while log.stat().st_size > 5 << 20:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert banger.ok("exec", "web", "--", "cat", "/proc/sys/kernel/random/boot_id") == boot
    # Nor does a lost database: it is made anew from the files beside the disks.
    banger.ok("vm", "forward", "web", "8097:22")
    before = {key: value for key, value in _vm(banger, "web").items() if key in LASTING}
    record = json.loads(banger.paths.vm_record(before["id"]).read_text())
    assert record["config"]["machine"].startswith("microvm")
    assert f"banger-{os.geteuid()}-{before['id']}" in " ".join(record["config"]["argv"])
    os.kill(banger.json("daemon", "status")["pid"], signal.SIGKILL)
    for path in banger.paths.state.glob("banger.db*"):
        path.unlink()
    assert {key: value for key, value in _vm(banger, "web").items() if key in LASTING} == before
    assert banger.ok("exec", "web", "--", "cat", "/proc/sys/kernel/random/boot_id") == boot
    assert [image["name"] for image in banger.json("image", "ls")] == ["debian"]
    banger.ok("rm", "--force", "web")


def test_a_killed_vmm_is_told_apart(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    banger.ok("run", "--name", "web", "--no-wait")
    os.kill(_vm(banger, "web")["pid"], signal.SIGKILL)
    vm = _await_state(banger, "web", "stopped")
    assert vm["last_exit"]["reason"] == "vmm-died"
    banger.ok("rm", "web")


def test_a_vm_that_shall_always_run_is_started_again(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    banger.ok("run", "--name", "web", "--memory", "512", "--restart", "always")
    first = _vm(banger, "web")["pid"]
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (vm := _vm(banger, "web"))["state"] != "running" or vm["pid"] == first:
        assert time.monotonic() < deadline, "it is not started again"
        time.sleep(0.2)
    banger.ok("wait", "web", "--for", "agent")
    banger.ok("vm", "set", "web", "--restart", "no")
    os.kill(_vm(banger, "web")["pid"], signal.SIGKILL)
    assert _await_state(banger, "web", "stopped")["last_exit"]["reason"] == "vmm-died"
    banger.ok("rm", "web")


def test_two_vms_at_once(banger_with_image: Home, leaves_nothing: Callable[[], None]) -> None:
    banger = banger_with_image
    for name in ("one", "two"):
        banger.ok("run", "--name", name, "--vcpu", "1", "--memory", "512")
    for name in ("one", "two"):
        assert banger.ok("exec", name, "--", "hostname") == f"{name}\n"
    assert len({(vm["ssh_host"], vm["ssh_port"]) for vm in banger.json("ls")}) == 2
    banger.ok("rm", "--force", "one", "two")


def test_a_command_in_a_vm_of_its_own(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    result = banger_with_image("run", "--rm", "--network", "user", "--", "sh", "-c", "exit 7")
    assert result.status == 7, result.stderr
    assert banger_with_image.json("ls") == []
