"""bangerd killed at every step boundary of a VM's life on real QEMU, and the next command after.

Once at each: before the first step, and after every step. Between that and the beginning of the
next step only the journal changes; ``tests/unit/service/test_crash.py`` kills there as well.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from banger.service.plans import PLANS
from banger.service.steps import failpoint_names
from tests.plugins.built_image import BuiltImage
from tests.plugins.fixtures import temporary_home
from tests.plugins.home import Home
from tests.plugins.inventory import Inventory
from tests.requirements import needs, reason

pytestmark = needs("qemu", "image", "ssh")

#: The command that runs into a failpoint of each kind, and the state it needs before.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "vm.create": ("absent", ("create", "--name", "web", "--disk-size", "1G", "--memory", "256")),
    "vm.start": ("stopped", ("start", "web", "--no-wait")),
    "vm.stop": ("running", ("stop", "web", "--timeout", "1")),
    "vm.kill": ("running", ("kill", "web")),
    "vm.nat": ("running", ("nat", "up", "web")),
    "vm.forward": ("running", ("vm", "forward", "web", "8089:22")),
    "vm.set": ("stopped", ("vm", "set", "web", "--memory", "320")),
    "vm.rebuild": ("stopped", ("vm", "rebuild", "web", "--yes")),
    "vm.delete": ("running", ("rm", "--force", "web")),
}
POINTS = [
    (kind, point)
    for kind in COMMANDS
    for number, point in enumerate(failpoint_names(PLANS[kind]))
    if ".undo." not in point and (number == 0 or point.endswith(".after"))
]


def _states(banger: Home) -> dict[str, str]:
    return {vm["name"]: vm["state"] for vm in banger.json("ls")}


def _bring_to(banger: Home, wanted: str) -> None:
    """The VM ``web`` in the wanted state, by ordinary commands."""
    state = _states(banger).get("web", "absent")
    if wanted == "absent" and state != "absent":
        banger.ok("rm", "--force", "web")
    if wanted != "absent" and state == "absent":
        banger.ok("create", "--name", "web", "--disk-size", "1G", "--memory", "256")
        state = "stopped"
    if wanted == "running" and state != "running":
        banger.ok("start", "web", "--no-wait")
    if wanted == "stopped" and state == "running":
        banger.ok("kill", "web")
    assert _states(banger).get("web", "absent") == wanted


@pytest.fixture(scope="module")
def lasting(built_image: Path) -> Iterator[Home]:
    """One home for all points: what a kill leaves behind would trouble the next one."""
    with temporary_home() as home:
        BuiltImage(built_image).give_to(home.paths)
        yield home


@pytest.mark.parametrize(("kind", "point"), POINTS)
def test_killed_at(lasting: Home, kind: str, point: str) -> None:
    banger = lasting
    before, command = COMMANDS[kind]
    _bring_to(banger, before)
    banger.ok("daemon", "stop")
    banger(*command, BANGER_FAILPOINTS=f"{point}=kill", timeout=60)
    # The command may have brought up a second daemon, in which the point is armed too.
    banger("daemon", "stop")
    settled = _settled(banger)
    assert settled in ("absent", "stopped", "running")
    _check_host(banger, settled)
    # What was interrupted can be done now.
    _bring_to(banger, before)
    banger.ok(*command)
    _check_host(banger, _settled(banger))


def _settled(banger: Home) -> str:
    for operation in banger.json("operation", "list"):
        if operation["status"] in ("running", "undoing"):
            banger("operation", "wait", operation["id"], timeout=60)
    return _states(banger).get("web", "absent")


def _check_host(banger: Home, state: str) -> None:
    """Processes, interfaces and folders are exactly those of the state."""
    items = Inventory.take(banger.paths).items
    kinds = sorted(item.split(" ")[0] for item in items)
    expected = {
        "absent": [],
        "stopped": ["file"],
        "running": ["file", "file", *(["interface"] if os.geteuid() == 0 else []), "process"],
    }[state]
    if "interface" in expected and not reason("nft"):
        expected.append("rules")
    assert kinds == expected, items


def test_kills_of_an_idle_daemon_go_unnoticed(lasting: Home) -> None:
    """The guest never notices: one boot id, one uptime that only grows."""
    banger = lasting
    _bring_to(banger, "absent")
    banger.ok("run", "--name", "web", "--memory", "256")
    boot = banger.ok("exec", "web", "--", "cat", "/proc/sys/kernel/random/boot_id")
    for _ in range(10):
        banger.ok("ls")
        os.kill(banger.json("daemon", "status")["pid"], signal.SIGKILL)
    assert banger.ok("exec", "web", "--", "cat", "/proc/sys/kernel/random/boot_id") == boot
    banger.ok("rm", "--force", "web")
