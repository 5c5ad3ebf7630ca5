"""The examples of every help are run, in a real shell, by a real bangerd over a host of files.

What needs a guest with a shell of its own, a terminal or another user is only read here, and has
tests of its own where that is: ``NOT_HERE`` says what, and why.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banger.client.client import BangerClient
from banger.client.views import OperationView, ended
from tests.examples import calls, examples
from tests.fakes.boot_files import own_files
from tests.plugins.fixtures import temporary_home
from tests.plugins.home import Home

NOT_HERE = {
    "ssh": "a guest's SSH server",
    "cp": "a guest's tar",
    "ssh-config web": "a real host key",
    "wait": "a guest's SSH server",
    "console": "a terminal",
    "tui": "a terminal",
    "image interactive": "a guest's shell",
    "image customize": "a real image",
    "image import": "a real archive",
    "image export": "a real image",
    "setup --firecracker": "the package index",
    "setup --remove": "changes the host",
    "setup": "changes the host",
    "daemon enable": "systemd",
    "daemon disable": "systemd",
}
HERE_ALL_THE_SAME = ("setup --dry-run", "wait web db --for stopped")
#: What ends only with its user.
ENDLESS = ("logs -f", "daemon logs -f", "events")
#: Exit statuses besides 0: a guest's own (the fake one says 7), a question that nobody is there
#: to answer, findings of doctor, an operation that has ended.
STATUS = {
    "exec": 7,
    "run --rm": 7,
    "rm --all": 2,
    "vm rebuild web": 2,
    "vm rebuild web --image": 0,
    "doctor": 9,
    "operation cancel": 5,
}
#: What must be so before: VMs that run, that are stopped, paused, or may not be there.
BEFORE: dict[str, dict[str, tuple[str, ...]]] = {
    "": {"running": ("web", "db")},
    "run": {"absent": ("web",)},
    "create": {"absent": ("web",)},
    "start": {"stopped": ("web", "db")},
    "wait web db --for stopped": {"stopped": ("web", "db")},
    "rename": {"stopped": ("calm-otter",), "absent": ("web",)},
    "vm rename": {"stopped": ("calm-otter",), "absent": ("db",)},
    "rm web": {"stopped": ("web",)},
    "vm resume": {"paused": ("web", "db")},
    "vm set": {"stopped": ("web", "db")},
    "vm clone web": {"stopped": ("web",), "absent": ("web-2",)},
    "vm clone 3fa2": {"stopped": ("calm-otter",), "absent": ("db",)},
    "vm rebuild": {"stopped": ("web",)},
    "vm forward": {"running": ("web",), "absent": ("dns",), "published": ("web",)},
    "vm forward web 8080": {"running": ("web",), "absent": ("dns",)},
    "vm forward add": {"running": ("dns",), "absent": ("web",)},
    "image build": {"image-absent": ("debian", "docker-debian", "small")},
    "image build debian": {"image": ("debian",)},
    "image register": {"image-absent": ("own", "tiny")},
    "image keep": {"stopped": ("web",), "image-absent": ("tools",)},
    "image rename": {"image": ("small",), "image-absent": ("tools",)},
    "image delete": {"image": ("small",)},
    "image rm": {"image": ("small", "other")},
}
PATIENCE = 15.0
#: Reads one JSON value after the other, as jq does, and complains of anything else.
_JQ = """
import json, sys
text, decoder = sys.stdin.read().strip(), json.JSONDecoder()
while text:
    text = text[decoder.raw_decode(text)[1] :].strip()
"""


def longest(table: Any, command: str) -> Any:
    """The value of the longest key that the command begins with, ``None`` without one."""
    fitting = [key for key in table if not key or f"{command} ".startswith(f"{key} ")]
    return table[max(fitting, key=len)] if fitting else None


class Stage:
    """A home whose daemon has fake drivers, and what the examples expect to find in it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.client = BangerClient(str(home.paths.socket))
        self._daemon: subprocess.Popen[bytes] | None = None
        folder = home.root / "bin"
        folder.mkdir()
        banger = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m banger "$@"\n'
        jq = f"#!{sys.executable}\n{_JQ}"
        for name, text in (("banger", banger), ("jq", jq)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        home.environment["PATH"] = f"{folder}:{home.environment['PATH']}"
        self.work = home.root / "work"
        files = own_files(self.work)
        for target, source in (("own.ext4", files.rootfs), ("tiny.ext4", files.rootfs),
                               ("vmlinuz", files.kernel), ("bzImage", files.kernel),
                               ("initrd", files.initrd)):  # fmt: skip
            if str(self.work / target) != source:
                (self.work / target).write_bytes(Path(source).read_bytes())
        (self.work / "small.apt").write_text("vim\n")
        (home.root / ".config/fish/completions").mkdir(parents=True)

    def start(self) -> None:
        argv = [sys.executable, "-m", "tests.fakes.services", str(self.home.root / "house")]
        root = str(Path(__file__).parents[2])
        self._daemon = subprocess.Popen(
            argv, env=self.home.environment | {"PYTHONPATH": root}, start_new_session=True
        )
        deadline = time.monotonic() + PATIENCE
        while self.home("daemon", "status").status != 0:
            assert time.monotonic() < deadline, "bangerd does not answer"
            time.sleep(0.01)

    def end(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(PATIENCE)

    def arrange(self, command: str) -> None:
        """Make it so as ``BEFORE`` says."""
        wanted = longest(BEFORE, command)
        for operation in self.client.operations(active=True):
            while not ended(operation):  # what an example left to the daemon
                operation = self.client.operation(operation["id"], wait=PATIENCE)
        images = {image["name"] for image in self.client.images()}
        for name in set(wanted.get("image-absent", ())) & images:
            self._do(self.client.rename_image(name, f"was-{os.urandom(3).hex()}"))
        needed = set(wanted.get("image", ()))
        if not command.startswith("image build"):
            needed.add("debian")
        for name in sorted(needed - images):
            self._do(self.client.build_image({"name": name}))
        states = {vm["name"]: vm["state"] for vm in self.client.vms(("name", "state"))}
        for state in ("absent", "stopped", "paused", "running"):
            for name in wanted.get(state, ()):
                self._put(name, states.get(name, "absent"), state)
        for name in wanted.get("published", ()):
            port = {"protocol": "tcp", "host_port": 8080, "guest_port": 80}
            if port not in self.client.vm(name)["forwards"]:
                self._do(self.client.forward(name, dict(port)))

    def _put(self, name: str, present: str, state: str) -> None:
        client = self.client
        if present == state:
            return
        if state == "absent":
            self._do(client.delete_vm(name, force=True))
            return
        if present == "absent":
            self._do(client.create_vm({"name": name, "memory_mib": 64}))
            present = "stopped"
        if present == "paused":
            self._do(client.act(name, "resume"))
            present = "running"
        if state == "stopped" and present != "stopped":
            self._do(client.act(name, "kill"))
        if state in ("running", "paused") and present == "stopped":
            self._do(client.act(name, "start"))
        if state == "paused":
            self._do(client.act(name, "pause"))

    def _do(self, operation: OperationView) -> None:
        while not ended(operation):
            operation = self.client.operation(operation["id"], wait=PATIENCE)
        assert operation["status"] == "succeeded", json.dumps(operation.get("error"))

    def with_real_ids(self, line: str) -> str:
        """The line with the beginnings of ids that there are."""
        if "3fa2" in line:
            line = line.replace("3fa2", self.client.vm("calm-otter")["id"][:8])
        if "7f3c" in line:
            line = line.replace("7f3c", self.client.operations(active=False)[-1]["id"])
        return line

    def run(self, line: str, command: str) -> subprocess.CompletedProcess[str]:
        endless = any(command.startswith(each) for each in ENDLESS)
        argv = ["bash", "-e", "-o", "pipefail", "-c", line]
        return subprocess.run(
            [*(("timeout", "--signal=INT", "1") if endless else ()), *argv],
            cwd=self.work,
            env=self.home.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def runnable() -> Iterator[tuple[str, str]]:
    """Each example with the command in it, without ``banger``."""
    for line in examples():
        command = shlex.join(calls(line)[0])
        here = any(command.startswith(each) for each in HERE_ALL_THE_SAME)
        if here or longest(NOT_HERE, command) is None:
            yield line, command


OWN_DAEMON = {"daemon stop", "daemon start", "daemon restart"}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with temporary_home() as home:
        made = Stage(home)
        made.start()
        try:
            yield made
        finally:
            home("rm", "--all", "--force", "--yes")
            made.end()


@pytest.mark.parametrize(
    ("line", "command"), [pair for pair in runnable() if pair[1] not in OWN_DAEMON]
)
def test_an_example_runs(stage: Stage, line: str, command: str) -> None:
    stage.arrange(command)
    done = stage.run(stage.with_real_ids(line), command)
    endless = any(command.startswith(each) for each in ENDLESS)
    allowed = {0, 124, 130} if endless else {longest(STATUS, command) or 0}
    if command.startswith("doctor"):
        allowed = {0, 9}
    assert done.returncode in allowed, (done.stdout, done.stderr)
    if allowed == {0}:
        assert "error:" not in done.stderr
    if command.endswith("--json") and "|" not in line:
        json.loads(done.stdout)


@pytest.mark.parametrize("command", sorted(OWN_DAEMON))
def test_an_example_about_the_daemon_runs(home: Home, command: str) -> None:
    """These start the real one, which has nothing to do."""
    assert f"banger {command}" in examples()
    home.ok(*command.split())
    assert home("daemon", "status").status == (3 if command == "daemon stop" else 0)
