"""``NAME.vm`` leads to a VM from its start to its teardown, on the host and in other guests.

The commands run in a mount namespace of their own, in which another file is bound over the
machine's hosts file: as in a container, it cannot be replaced, only written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins.home import Home, program
from tests.requirements import needs

pytestmark = needs("root", "tap", "qemu", "image", "ssh")
LINES = "127.0.0.1 localhost\n# a line of the machine's own\n"


class Named:
    """A home whose daemon sees the file ``hosts`` at the place of the machine's."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.hosts = home.root / "hosts"
        self.hosts.write_text(LINES)
        self.hosts.chmod(0o644)
        home.environment["BANGER_NAMES"] = "hosts"
        # The daemon started here is the one that all later commands talk to.
        self.within(*program(), "daemon", "start")
        self.pid = int(home.json("daemon", "status")["pid"])

    def within(self, *argv: str) -> None:
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, str(self.hosts), *argv],
            env=self.home.environment,
            check=True,
            capture_output=True,
            timeout=60,
        )

    def getent(self, name: str) -> str:
        """The address that the host's own resolver finds where the daemon lives."""
        argv = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "getent", "ahostsv4", name]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        return done.stdout.split()[0] if done.stdout else ""


def mapdns(home: Home, *arguments: str) -> str:
    argv = [sys.executable, "-m", "banger.mapdns.main", *arguments]
    done = subprocess.run(
        argv, env=home.environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.fixture
def named(banger_with_image: Home) -> Named:
    return Named(banger_with_image)


def test_names_live_from_start_to_teardown(
    named: Named, leaves_nothing: Callable[[], None]
) -> None:
    banger, machine = named.home, Path("/etc/hosts").read_bytes()
    banger.ok("run", "--name", "web", "--network", "tap")
    address = banger.json("show", "web")["address"]
    assert named.getent("web.vm") == address
    assert banger.json("show", "web")["dns_name"] == "web.vm"
    inode = named.hosts.stat().st_ino

    banger.ok("run", "--name", "db", "--network", "tap")
    other = banger.json("show", "db")["address"]
    for name, found in (("db.vm", other), ("DB.vm", other), ("web.vm", address)):
        seen = banger.ok("exec", "web", "--", "getent", "ahostsv4", name)
        assert seen.split()[0] == found, name
    assert banger("exec", "web", "--", "getent", "hosts", "none.vm").status == 2

    # What a person sets is found as well, while VMs run.
    mapdns(banger, "set", "printer", "192.168.7.7")
    deadline = time.monotonic() + 10
    while named.getent("printer.vm") != "192.168.7.7":
        assert time.monotonic() < deadline, named.hosts.read_text()
        time.sleep(0.2)
    assert "192.168.7.7" in banger.ok("exec", "db", "--", "getent", "hosts", "printer.vm")
    listed = json.loads(mapdns(banger, "list", "--json"))["records"]
    assert {entry["name"] for entry in listed} == {"db.vm", "printer.vm", "web.vm"}

    # Names and wiring outlive the daemon, and the next one goes on with them.
    os.kill(named.pid, 9)
    assert address in named.hosts.read_text()
    named.within(*program(), "daemon", "start")
    named.pid = int(banger.json("daemon", "status")["pid"])
    assert banger.ok("exec", "db", "--", "getent", "ahostsv4", "web.vm").split()[0] == address

    banger.ok("kill", "web")
    assert named.getent("web.vm") == ""
    assert named.getent("db.vm") == other
    assert banger.json("show", "web")["dns_name"] == ""
    banger.ok("rm", "--force", "db", "web")
    assert named.getent("db.vm") == ""
    assert named.hosts.read_text() == LINES
    assert (named.hosts.stat().st_ino, named.hosts.stat().st_mode & 0o777) == (inode, 0o644)
    assert Path("/etc/hosts").read_bytes() == machine


def test_a_vm_behind_the_vmms_own_network_has_no_name(
    named: Named, leaves_nothing: Callable[[], None]
) -> None:
    named.home.ok("run", "--name", "web", "--network", "user")
    assert named.home.json("show", "web")["dns_name"] == ""
    assert named.getent("web.vm") == ""
    assert named.hosts.read_text() == LINES
    named.home.ok("rm", "--force", "web")
