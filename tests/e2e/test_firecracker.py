"""All of banger on the real Firecracker, with tiny guests: KVM here may be able to run no other.

The daemon runs as root and its VMMs as nobody, so where the devices are root's alone it gets
nodes that are open, in a mount namespace of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from banger.host.tiny_guest import tiny_guest
from tests.firecracker_home import OPTIONS, create, files_of, prepare, start_daemon, state, until
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("root", "tap", "e2fsprogs", "firecracker", "bare-kvm")


@pytest.fixture
def banger(home: Home) -> Home:
    """A home with a Firecracker, a tiny kernel that echoes, and a root file system."""
    prepare(home)
    start_daemon(home)
    return home


@pytest.fixture
def clean(banger: Home, leaves_nothing: Callable[[], None]) -> Iterator[None]:
    yield
    banger.ok("vm", "delete", "--all", "--force")


@pytest.mark.usefixtures("clean")
def test_a_whole_life(banger: Home) -> None:
    create(banger, "--name", "web")
    banger.ok("start", "web", "--no-wait")
    shown = banger.json("show", "web")
    assert (shown["state"], shown["vmm"], shown["accelerator"]) == ("running", "firecracker", "kvm")
    assert (shown["network"], shown["storage"] in ("reflink", "copy")) == ("tap", True)
    status = Path(f"/proc/{shown['pid']}/status").read_text()
    assert "\nUid:\t65534\t" in status
    until(lambda: "tiny guest up" in banger.ok("logs", "web"))
    banger.ok("vm", "pause", "web")
    assert state(banger, "web") == "paused"
    banger.ok("vm", "resume", "web")
    banger.ok("kill", "web")
    assert banger.json("show", "web")["last_exit"]["reason"] == "killed"
    banger.ok("start", "web", "--no-wait")
    banger.ok("stop", "web", "--timeout", "1s")
    assert state(banger, "web") == "stopped"


@pytest.mark.usefixtures("clean")
def test_the_end_of_a_guest_is_told(banger: Home) -> None:
    for name, last_words, then, reason in (
        ("again", b"bye\n", "reset", "guest-reboot"),
        ("panic", b"[1.0] Kernel panic - not syncing: x\n", "reset", "guest-panic"),
        ("off", b"[1.0] reboot: Power down\n", "halt", "guest-shutdown"),
    ):
        (banger.root / "kernel").write_bytes(tiny_guest(last_words, then))  # type: ignore[arg-type]
        create(banger, "--name", name)
        banger("start", name, "--no-wait")
        until(lambda name=name: state(banger, name) in ("stopped", "failed"))  # type: ignore[misc]
        assert banger.json("show", name)["last_exit"]["reason"] == reason


@pytest.mark.usefixtures("clean")
def test_a_daemon_that_is_killed_finds_its_vms_again(banger: Home) -> None:
    create(banger, "--name", "web")
    banger.ok("start", "web", "--no-wait")
    before = banger.json("show", "web")["pid"]
    os.kill(banger.json("daemon", "status")["pid"], signal.SIGKILL)
    start_daemon(banger)
    shown = banger.json("show", "web")
    assert (shown["state"], shown["pid"]) == ("running", before)
    banger.ok("vm", "pause", "web")
    banger.ok("vm", "resume", "web")
    os.kill(before, signal.SIGKILL)
    until(lambda: state(banger, "web") == "stopped")
    assert banger.json("show", "web")["last_exit"]["reason"] == "vmm-died"


@pytest.mark.usefixtures("clean")
def test_many_by_four_clients(banger: Home) -> None:
    def life(number: int) -> None:
        create(banger, "--name", f"vm{number}")
        banger.ok("start", f"vm{number}", "--no-wait")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(life, range(12)))
    vms = banger.json("ls")
    assert {vm["state"] for vm in vms} == {"running"}
    assert len({vm["pid"] for vm in vms}) == len({vm["address"] for vm in vms}) == 12


def descriptors_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.usefixtures("clean")
def test_four_clients_start_and_delete_for_a_minute(banger: Home) -> None:
    daemon = banger.json("daemon", "status")["pid"]
    create(banger, "--name", "first")
    banger.ok("rm", "first")
    before = descriptors_of(daemon)
    end = time.monotonic() + 60
    done: list[str] = []

    def work(worker: int) -> None:
        while time.monotonic() < end:
            name = f"vm{worker}-{len(done)}"
            create(banger, "--name", name)
            banger.ok("start", name, "--no-wait")
            banger.ok("rm", "--force", name)
            done.append(name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    print(f"{len(done)} VMs made, started and deleted in a minute by 4 clients")
    assert len(done) >= 8
    assert banger.json("ls") == []
    assert not list((banger.paths.runtime / "vms").iterdir())
    # Connections of the clients that have just left may still be open.
    until(lambda: descriptors_of(daemon) <= before + 4)


@pytest.mark.usefixtures("clean")
def test_what_goes_wrong_is_said_and_mended(banger: Home) -> None:
    create(banger, "--name", "web")
    vm_id = banger.json("show", "web")["id"]

    def refused(*words: str) -> None:
        result = banger("start", "web", "--no-wait")
        assert result.status != 0
        assert "  cause:" in result.stderr
        assert "Traceback" not in result.stderr
        for word in words:
            assert word in result.stderr, result.stderr
        assert not banger.paths.vm_runtime(vm_id).exists()
        assert not Path(f"/sys/class/net/bgr{vm_id}").exists()

    executable = banger.paths.firecracker / "firecracker"
    content = executable.read_bytes()
    executable.write_bytes(content + b"x")
    refused("not the program that it should be")
    executable.write_bytes(content)
    shutil.move(banger.paths.firecracker, banger.paths.firecracker.with_name("away"))
    if not shutil.which("firecracker"):
        refused("Firecracker is not installed")
    shutil.move(banger.paths.firecracker.with_name("away"), banger.paths.firecracker)
    banger.ok("start", "web", "--no-wait")
    assert state(banger, "web") == "running"


@pytest.mark.usefixtures("clean")
def test_what_firecracker_cannot_have_is_refused_at_create(banger: Home) -> None:
    for wrong in (("--storage", "qcow2"), ("--network", "user")):
        result = banger("create", *OPTIONS, *files_of(banger), *wrong)
        assert result.status == 2
        assert "firecracker cannot" in result.stderr
    assert banger.json("ls") == []
