"""The lab host for tests: one restored for a module, and banger's command line in it."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.control import LabStalled
from tests.lab.machine import SPEED
from tests.lab.session import Session
from tests.plugins.guards import home_environment
from tests.plugins.home import TIMEOUT, CommandLine

#: Seconds for a command there at most: everything takes about ten times as long.
LAB_TIMEOUT = 360.0
#: The lab's seconds for a guest to boot there, below the above; with a distribution's own initrd a
#: slow machine takes 150 of ours.
START_TIMEOUT = f"{300 * SPEED:g}"
_LOGS = """tail -c 6000 $0/state/banger/bangerd.log
for log in $0/state/banger/vms/*/*.log; do echo; echo "-- $log"; tail -c 3000 $log; done
echo; echo '-- dmesg'; dmesg | tail -n 15"""
_FAULTS = """for log in $(grep -l KVM_EXIT_SHUTDOWN $0/state/banger/vms/*/vmm.log); do
echo "a triple fault, says $log"; done"""


class LabHome(CommandLine):
    """banger in the lab host, in a home of one of its users. ``root`` is that home's folder.

    ``light`` is for tests of the host, which ask of a guest no more than that it is Linux and
    answers: its image is without systemd, so that guests stop in two thirds of the time.
    """

    def __init__(
        self, session: Session, root: str, *, user: str = "root", light: bool = False
    ) -> None:
        self.session, self.root, self.user = session, root, user
        self.environment = {
            "BANGER_VMM": "firecracker",
            "BANGER_NAMES": "off",
            "BANGER_START_TIMEOUT": START_TIMEOUT,
            **home_environment_of(root),
        }
        folders = shlex.join(home_environment_of(root).values())
        session.shell(f"umask 077; mkdir -p {folders}; chown -R {user}: {root}")
        session.give_image(f"{root}/state/banger", user=user)
        if light:
            session.take_init_away(f"{root}/state/banger")

    def run_bytes(
        self, *arguments: str, stdin: bytes = b"", timeout: float = TIMEOUT, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        return self._run(("banger", *arguments), stdin, timeout, variables)

    def on_host(
        self, *argv: str, stdin: bytes = b"", timeout: float = TIMEOUT
    ) -> subprocess.CompletedProcess[bytes]:
        return self._run(argv, stdin, timeout, {})

    def _run(
        self, argv: tuple[str, ...], stdin: bytes, timeout: float, variables: dict[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return self.session.control.run(
                *argv,
                stdin=stdin,
                timeout=min(timeout, LAB_TIMEOUT),
                user=self.user,
                env=self.environment | variables,
            )
        except subprocess.TimeoutExpired as error:
            raise LabStalled(f"{error}\n{error.stdout!r}\n{error.stderr!r}") from error

    def lost_guests(self) -> list[str]:
        """What befell guests that only the emulated SVM can have done, a sentence for each.

        They run for banger and for the host, but answer no ping; or had a triple fault.
        """
        listed = self("ls", "--json", timeout=60)
        lost = []
        for vm in json.loads(listed.stdout) if listed.status == 0 else ():
            alive = vm["state"] == "running" and self.on_host("test", "-d", f"/proc/{vm['pid']}")
            if alive and alive.returncode == 0 and vm["address"]:
                ping = self.on_host("ping", "-c", "4", "-W", "4", vm["address"], timeout=60)
                if not ping.returncode:
                    continue
                console = self.on_host("tail", "-n", "1", f"{vm['directory']}/console.log")
                last = console.stdout.decode(errors="replace").strip()
                # One that has switched itself off was banger's to end.
                if "reboot: " not in last:
                    lost.append(f"the guest of {vm['name']} answers no ping; it said last: {last}")
        faults = self.on_host("sh", "-c", _FAULTS, self.root, timeout=60)
        return lost + faults.stdout.decode().splitlines()

    def logs(self) -> Iterator[tuple[str, str]]:
        try:
            done = self.session.control.run("sh", "-c", _LOGS, self.root, timeout=20)
        except (LabStalled, subprocess.TimeoutExpired) as error:
            yield "lab", f"{error}\n{self.session.machine.last_words()}"
        else:
            yield "lab", done.stdout.decode(errors="replace")


def home_environment_of(root: str) -> dict[str, str]:
    """The XDG variables of a home there, as those of a home here."""
    return home_environment(Path(root))


@pytest.fixture(scope="module")
def lab() -> Iterator[Session]:
    """A freshly restored lab host for the tests of one file."""
    with Session() as session:
        yield session
