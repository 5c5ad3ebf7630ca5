"""The installed root side, reached through the real sudo by an ordinary user."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

import banger
from banger import naming
from banger.drivers.dns.base import Wanted
from banger.drivers.dns.hosts_file import HostsFile
from banger.drivers.network import addressing
from banger.drivers.network.addressing import Subnet
from banger.drivers.network.tap import networks_in_use
from banger.drivers.storage import exception_store
from banger.errors import Conflict
from banger.host import root_side
from banger.host.privilege import Privilege
from banger.host.root_side import Place
from banger.privileged import execute, hosts_file, installation, sudoers, tap_marks
from banger.privileged.calls import (
    CATALOGUE_VERSION,
    HostsBlockSet,
    SnapshotAttach,
    SnapshotDetach,
    TapShow,
    call_to_json,
)
from tests.requirements import missing, needs

pytestmark = needs("root", "sudo", "tap")
#: Two users who may do nothing on any Debian: nobody, and games.
USER, OTHER = 65534, 5


def as_user(
    *argv: str,
    uid: int = USER,
    stdin: str = "",
    timeout: float = 60,
    env: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    drop = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    return subprocess.run(
        [*drop, *argv], input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        env={"PATH": os.environ["PATH"] + ":/usr/sbin", "LC_ALL": "C", **env}, cwd="/",
    )  # fmt: skip


@pytest.fixture
def place() -> Iterator[Place]:
    """A root side of this test's own. /usr/local may be writable to the group staff."""
    parent = Path(f"/usr/lib/bgrtest-{os.getpid()}")
    parent.mkdir(mode=0o755)
    made = Place(prefix=parent / "banger-privileged")
    if made.sudoers_file(USER).exists():
        parent.rmdir()
        pytest.skip("this machine's user nobody has the root side")
    try:
        yield made
    finally:
        shutil.rmtree(parent)
        made.sudoers_file(USER).unlink(missing_ok=True)


@pytest.fixture
def installed(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(root_side, "tun_is_closed", lambda: False)
    root_side.install(USER, place)
    return place


def ask(place: Place, *calls: object, uid: int = USER, **env: str) -> Any:
    request = json.dumps({"version": CATALOGUE_VERSION, "calls": calls})
    program = str(installation.program(place.prefix))
    done = as_user("sudo", "-n", program, uid=uid, stdin=request, env=env)
    return json.loads(done.stdout) if done.stdout else done.stderr


def tap_calls(vm_id: str, uid: int = USER) -> list[dict[str, object]]:
    common: dict[str, object] = {
        "name": naming.tap_name(vm_id),
        "alias": naming.tap_alias(uid, vm_id),
    }
    create = {
        "call": "tap_create",
        **common,
        "owner_uid": uid,
        "host_address": "10.209.79.1/30",
        "guest_address": "10.209.79.2",
        "guest_mac": naming.mac_address(vm_id),
    }
    delete = {"call": "tap_delete", **common}
    return [create, delete]


def test_an_ordinary_user_makes_opens_and_removes_a_tap(installed: Place) -> None:
    vm_id = naming.new_id()
    create, delete = tap_calls(vm_id)
    reply = ask(installed, create)
    assert reply["sudoers"] == ""
    assert reply["results"][0]["index"] > 0
    try:
        owner = Path(f"/sys/class/net/{naming.tap_name(vm_id)}/owner").read_text().strip()
        assert int(owner) == USER
        again = ask(installed, create)
        assert again["results"] == reply["results"]
    finally:
        gone = ask(installed, delete)
    assert gone["results"][0]["index"] == 0


def test_its_modules_are_compiled_and_still_checked(installed: Place) -> None:
    folder = installed.prefix / "banger/privileged" / installation.COMPILED
    compiled = sorted(path.name.partition(".")[0] for path in folder.iterdir())
    assert compiled == sorted(path.stem for path in folder.parent.glob("*.py"))
    assert root_side.problems(USER, installed) == []
    stray = folder / "other.cpython-311.pyc"
    stray.touch(0o644)
    assert root_side.problems(USER, installed) == [f"{stray} does not belong there"]
    stray.chmod(0o666)
    assert "may be written by others" in root_side.problems(USER, installed)[0]
    assert "may be written by others" in ask(installed)["error"]["text"]


def test_nobody_works_for_another(installed: Place) -> None:
    create, _ = tap_calls(naming.new_id(), uid=OTHER)
    assert ask(installed, create)["error"]["reason"] == "refused"
    assert "password is required" in ask(installed, create, uid=OTHER)
    create, _ = tap_calls(naming.new_id(), uid=0)
    assert ask(installed, create)["error"]["reason"] == "refused"


def test_root_opens_files_as_the_user_alone(installed: Place) -> None:
    """What is another's is refused; what is the user's gets as far as the kernel allows."""
    vm_id = naming.new_id()
    folder = Path(f"/var/tmp/bgrtest-{os.getpid()}")
    own = folder / vm_id
    own.mkdir(parents=True)
    image, layer, secret = folder / "image", own / "root.cow", folder / "secret"
    try:
        exception_store.make_empty(layer, 1 << 20)
        for path in (image, secret):
            path.write_bytes(bytes(1 << 20))
        for path in (folder, own, image, layer):
            os.chown(path, USER, USER)
        secret.chmod(0o600)

        def attach(image: Path, layer: Path) -> Any:
            call = SnapshotAttach(vm_id, str(image), str(layer))
            return ask(installed, call_to_json(call))

        reply = attach(secret, layer)
        assert reply["error"]["reason"] == "refused"
        assert "Permission denied" in reply["error"]["text"]
        shutil.copyfile(layer, own / "roots")
        assert "Permission denied" in attach(image, own / "roots")["error"]["text"]
        (own / "link").symlink_to(secret)
        assert attach(image, own / "link")["error"]["reason"] == "refused"
        reply = attach(image, layer)
        if missing(("dm",)):
            assert "device-mapper" in reply["error"]["text"]
        else:
            node = Path(f"/dev/dm-{os.minor(reply['results'][0]['index'])}")
            assert node.stat().st_uid == USER
            ask(installed, call_to_json(SnapshotDetach(vm_id)))
            assert not node.exists()
    finally:
        shutil.rmtree(folder)


@needs("nft")
def test_two_users_keep_apart(
    installed: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root_side.install(OTHER, installed)
    pool = addressing.parse_pool("10.208.0.0/12")
    made: list[tuple[int, str, Subnet]] = []
    try:
        for uid in (USER, OTHER):
            vm_id, share = naming.new_id(), addressing.share_of(pool, uid)
            subnet = next(addressing.candidates(share, vm_id, networks_in_use()))
            create, _ = tap_calls(vm_id, uid)
            create |= {"host_address": f"{subnet.gateway}/30", "guest_address": subnet.guest}
            assert ask(installed, create, uid=uid)["results"][0]["index"] > 0
            made.append((uid, vm_id, subnet))
        assert not made[0][2].network.overlaps(made[1][2].network)
        _, theirs = tap_calls(made[0][1], USER)
        assert ask(installed, theirs, uid=OTHER)["error"]["reason"] == "refused"
        assert Path("/sys/class/net", naming.tap_name(made[0][1])).exists()
    finally:
        for uid, vm_id, _subnet in made:
            assert ask(installed, tap_calls(vm_id, uid)[1], uid=uid)["results"][0]["index"] == 0
        installed.sudoers_file(OTHER).unlink()
    # One zone is wired: the second user is told whose it is.
    monkeypatch.setattr(hosts_file, "HOSTS", tmp_path / "hosts")
    monkeypatch.setattr(hosts_file, "LOCK", tmp_path / "lock")
    hosts_file.HOSTS.write_text("127.0.0.1 localhost\n")
    execute.perform([HostsBlockSet(("10.208.4.2 web.vm",))], USER)
    second = HostsFile(Privilege(), OTHER)
    with pytest.raises(Conflict, match="cannot be wired") as caught:
        asyncio.run(second.wire(Wanted({"db.vm": "10.209.4.2"}, {"x": "y"}, "127.0.0.153:53")))
    assert f"user {USER}" in caught.value.cause
    assert "banger doctor" in caught.value.resolution
    assert "db.vm" not in hosts_file.HOSTS.read_text()


def test_neither_arguments_nor_environment_get_through(installed: Place) -> None:
    program = str(installation.program(installed.prefix))
    for argv in (
        ("sudo", "-n", program, "more"),
        ("sudo", "-n", "/bin/sh"),
        ("sudo", "-n", "-E", program),
        ("sudo", "-n", "SUDO_UID=0", program),
        ("sudo", "-n", "PYTHONPATH=/tmp", program),
    ):
        done = as_user(*argv, stdin="")
        assert done.returncode != 0, argv
        assert not done.stdout, argv
    create, _ = tap_calls(naming.new_id(), uid=0)
    assert ask(installed, create, SUDO_UID="0")["error"]["reason"] == "refused"


@pytest.mark.parametrize("spoilt", ["owner", "mode", "link", "parent", "more"])
def test_it_refuses_when_others_could_change_it(installed: Place, spoilt: str) -> None:
    module = installed.prefix / "banger/privileged/checks.py"
    match spoilt:
        case "owner":
            os.chown(module, USER, 0)
        case "mode":
            module.chmod(0o664)
        case "link":
            module.rename(module.with_suffix(".real"))
            module.symlink_to(module.with_suffix(".real"))
        case "parent":
            installed.prefix.parent.chmod(0o777)
        case "more":
            os.mkfifo(installed.prefix / "banger/privileged/pipe")
    reply = ask(installed, call_to_json(TapShow("bgr0123456789ab")))
    assert reply["error"]["reason"] == "unsafe"
    assert reply["results"] == []
    assert root_side.problems(USER, installed)
    installed.prefix.parent.chmod(0o755)


def test_every_byte_is_verified(installed: Place) -> None:
    assert root_side.problems(USER, installed) == []
    line = installed.sudoers_file(USER)
    line.write_text(line.read_text().replace('""', "*"))
    (found,) = root_side.problems(USER, installed)
    assert "is not as banger writes it" in found
    line.write_text(sudoers.render(USER, installed.prefix))
    (installed.prefix / "banger/privileged/extra.py").write_text("")
    (found,) = root_side.problems(USER, installed)
    assert "does not belong there" in found
    (installed.prefix / "banger/privileged/extra.py").unlink()
    (installed.prefix / "banger/privileged/nat.py").unlink()
    assert root_side.problems(USER, installed)
    root_side.install(USER, installed)
    assert root_side.problems(USER, installed) == []
    assert list(root_side.plan(USER, installed)) == []


def test_the_line_is_one_that_sudo_takes(installed: Place) -> None:
    line = installed.sudoers_file(USER)
    assert line.stat().st_mode & 0o777 == 0o440
    assert subprocess.run(["visudo", "-c", "-q", "-f", line], check=False).returncode == 0
    commands = [text for text in line.read_text().splitlines() if not text.startswith("# ")]
    assert commands == [
        f'#{USER} ALL=(root) NOPASSWD:NOSETENV: {installed.prefix}/banger-privileged ""'
    ]


def test_it_goes_again(installed: Place) -> None:
    assert len(root_side.remove(USER, installed)) >= 1
    assert not installed.sudoers_file(USER).exists()
    assert root_side.remove(USER, installed) in ([], [f"removed {installed.prefix}"])
    assert "password is required" in ask(installed) or "command not found" in ask(installed)


PROBE = """
import asyncio, json, sys
from pathlib import Path
from banger.errors import BangerError
from banger.host import sudo
from banger.host.privilege import Privilege
from banger.privileged.calls import TapShow
sudo.TIMEOUT = float(sys.argv[2])
sudo.perform.__defaults__ = (*sudo.perform.__defaults__[:-1], sudo.TIMEOUT)
try:
    facts = asyncio.run(Privilege(Path(sys.argv[1])).call([TapShow("bgr0123456789ab")]))
    print(json.dumps([fact.name for fact in facts]))
except BangerError as error:
    print(json.dumps(error.as_dict()))
"""


def probe(place: Place, tmp: Path, timeout: float = 60) -> Any:
    """What the daemon of an ordinary user gets, from a copy of banger that it may read."""
    tree = tmp / "banger"
    if not tree.exists():
        for package in (banger, msgspec):
            folder = Path(str(package.__file__)).parent
            shutil.copytree(folder, tmp / folder.name)
        above = takewhile(lambda folder: folder != Path(tempfile.gettempdir()), tmp.parents)
        for folder in (tmp, *above):
            folder.chmod(0o755)
    argv = (os.path.realpath(sys.executable), "-B", "-c", PROBE)
    program = str(installation.program(place.prefix))
    done = as_user(*argv, program, str(timeout), env={"PYTHONPATH": str(tmp)})
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_the_daemon_of_an_ordinary_user_gets_through(installed: Place, tmp_path: Path) -> None:
    assert probe(installed, tmp_path) == ["bgr0123456789ab"]


def test_a_hung_root_side_is_given_up(installed: Place, tmp_path: Path) -> None:
    program = installation.program(installed.prefix)
    # It answers the first time, as one that hangs later would.
    once = installed.prefix / "once"
    program.write_text(
        "#!/usr/bin/python3 -IS\nimport os, time\n"
        f"if not os.path.exists({str(once)!r}):\n"
        f"    open({str(once)!r}, 'w')\n"
        f'    print(\'{{"version": {CATALOGUE_VERSION}, "results": []}}\')\n'
        "else:\n    time.sleep(20)\n"
    )
    started = time.monotonic()
    error = probe(installed, tmp_path, timeout=1)
    assert error["code"] == "deadline_exceeded"
    assert error["brief"] == "the root side did not answer within 1 s"
    assert error["resolution"]
    assert time.monotonic() - started < 15


def test_an_older_root_side_is_told(installed: Place, tmp_path: Path) -> None:
    program = installation.program(installed.prefix)
    program.write_text('#!/bin/sh\necho \'{"version": 1, "results": []}\'\n')
    error = probe(installed, tmp_path)
    assert error["code"] == "permission_refused"
    assert "version" in error["cause"]
    assert error["resolution"].startswith("sudo banger setup")


def test_without_the_line_the_cure_is_named(installed: Place, tmp_path: Path) -> None:
    installed.sudoers_file(USER).unlink()
    error = probe(installed, tmp_path)
    assert error["code"] == "permission_refused"
    assert "password is required" in error["cause"]


def test_nothing_was_left(installed: Place) -> None:
    assert tap_marks.facts("bgr0123456789ab").index == 0
