"""Everything without root: an ordinary user's daemon, user-mode network, the same commands."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import banger
from banger.host.root_side import TUN, Place
from banger.privileged import sudoers
from tests.fakes.internet import WORLD, WORLD_HOST, ask, internet, server
from tests.plugins.built_image import BuiltImage
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("root", "qemu", "image", "ssh")
USER = "nobody"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def as_user(home: Home, built_image: Path) -> Iterator[Run]:
    """Runs banger as ``nobody``, from a copy that this user may read, in a home of its own."""
    account = pwd.getpwnam(USER)
    BuiltImage(built_image).give_to(home.paths)
    program = home.root / "program"
    shutil.copytree(sysconfig.get_path("purelib"), program, symlinks=True)
    shutil.copytree(Path(banger.__file__).parent, program / "banger", dirs_exist_ok=True)
    image = home.paths.images / built_image.name
    for path in image.iterdir():
        # The shared image is hard-linked and stays root's: this user gets files of its own.
        copy = path.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", path, copy], check=True)
        copy.rename(path)
    subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", home.root], check=True)
    environment = {
        **{key: value for key, value in home.environment.items() if "COVERAGE" not in key},
        "PYTHONPATH": str(program),
        "PYTHONDONTWRITEBYTECODE": "1",
        "USER": USER,
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                "setpriv",
                f"--reuid={account.pw_uid}",
                f"--regid={account.pw_gid}",
                "--clear-groups",
                os.path.realpath(sys.executable),
                "-m",
                "banger",
                *arguments,
            ],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    yield run
    run("vm", "delete", "--all", "--force")
    run("daemon", "stop")


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
    """What ``sudo banger setup`` gives the user, and what ``--remove`` takes back."""
    place, uid = Place(), pwd.getpwnam(USER).pw_uid
    if place.prefix.exists() or place.sudoers_file(uid).exists():
        pytest.skip("this machine has the root side installed")
    mode = TUN.stat().st_mode & 0o777
    try:
        shown = home.ok("setup", "--user", USER, "--dry-run")
        assert sudoers.render(uid).splitlines()[1] in shown
        assert not place.prefix.exists()
        home.ok("setup", "--user", USER)
        assert home("setup", "--user", USER).stdout == ""
        yield
    finally:
        home.ok("setup", "--user", USER, "--remove")
        TUN.chmod(mode)
        assert not place.prefix.exists()
        assert not place.sudoers_file(uid).exists()


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
