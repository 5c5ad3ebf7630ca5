"""Everything without root: an ordinary user's daemon, user-mode network, the same commands."""

from __future__ import annotations

import json
import pwd
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.internet import WORLD, WORLD_HOST, ask, internet, server
from tests.ordinary_user import USER, OrdinaryUser, root_side_for
from tests.plugins.built_image import BuiltImage
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("root", "qemu", "image", "ssh")


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def as_user(home: Home, built_image: Path) -> Iterator[Run]:
    """Runs banger as ``nobody``, who has the image."""
    BuiltImage(built_image).give_to(home.paths)
    image = home.paths.images / built_image.name
    for path in image.iterdir():
        # The shared image is hard-linked and stays root's: this user gets files of its own.
        copy = path.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", path, copy], check=True)
        copy.rename(path)
    user = OrdinaryUser(home)
    yield user
    user.end()


def test_a_vm_without_root(as_user: Run) -> None:
    made = as_user("run", "--name", "mine", "--network", "user")
    assert made.returncode == 0, made.stderr
    assert as_user("exec", "mine", "--", "sh", "-c", "exit 7").returncode == 7
    assert as_user("ssh", "mine", "--", "hostname").stdout == "mine\n"
    assert as_user("stop", "mine").returncode == 0
    assert as_user("start", "mine").returncode == 0
    refused = as_user("create", "--network", "tap")
    assert refused.returncode in (2, 6), refused
    assert "--network user" in refused.stderr
    assert as_user("rm", "--force", "mine").returncode == 0
    assert as_user("ls", "--json").stdout.strip() == "[]"


@pytest.fixture
def root_side(home: Home) -> Iterator[None]:
    with root_side_for(home):
        yield


@needs("sudo", "tap", "nft")
def test_a_vm_with_a_tap_and_nat(as_user: Run, root_side: None) -> None:
    found = json.loads(as_user("doctor", "--json").stdout)
    (check,) = (check for check in found["checks"] if check["name"] == "root")
    assert check["status"] == "ok", check
    assert found["drivers"]["network"]["name"] == "tap"
    with internet() as world, server(world, 80):
        made = as_user("run", "--name", "mine", "--nat")
        assert made.returncode == 0, made.stderr
        vm = json.loads(as_user("show", "mine", "--json").stdout)
        assert (vm["network"], vm["nat"]) == ("tap", True)
        owner = Path(f"/sys/class/net/bgr{vm['id']}/owner").read_text().strip()
        assert int(owner) == pwd.getpwnam(USER).pw_uid
        script = f"import socket;print(socket.create_connection(('{WORLD}',80),5).recv(99))"
        reply = as_user("exec", "mine", "--", "python3", "-c", script)
        assert WORLD_HOST in reply.stdout, reply.stderr
        assert as_user("vm", "forward", "mine", "8093:22").returncode == 0
        assert ask("", "127.0.0.1", 8093).startswith("SSH-2.0")
        # A firewall that is loaded anew flushes all tables; its own daemon puts its own back.
        table = ("inet", f"banger_{owner}")
        subprocess.run(["nft", "delete", "table", *table], check=True)
        flushed = time.monotonic()
        while subprocess.run(
            ["nft", "list", "table", *table], capture_output=True, check=False
        ).returncode:
            assert time.monotonic() < flushed + 10
            time.sleep(0.05)
        print(f"the rules were back after {time.monotonic() - flushed:.2f} s")
        # Its daemon may not have port 53: the root side leads the guest's questions to it.
        made = as_user("run", "--name", "other")
        assert made.returncode == 0, made.stderr
        other = json.loads(as_user("show", "other", "--json").stdout)["address"]
        seen = as_user("exec", "mine", "--", "getent", "ahostsv4", "other.vm")
        assert seen.stdout.startswith(other), seen.stderr
        assert as_user("daemon", "stop").returncode == 0
        seen = as_user("exec", "other", "--", "getent", "ahostsv4", "mine.vm")
        assert seen.stdout.startswith(vm["address"]), seen.stderr
        refused = as_user("vm", "forward", "mine", "80:80")
        assert refused.returncode != 0
        assert "belong to root" in refused.stderr
    assert as_user("rm", "-f", "mine", "other").returncode == 0
    assert not Path(f"/sys/class/net/bgr{vm['id']}").exists()
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    assert f"banger_{pwd.getpwnam(USER).pw_uid}" not in tables.stdout
