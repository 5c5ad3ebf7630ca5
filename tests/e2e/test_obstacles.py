"""What stands in the way of a VM is told in three lines, leaks nothing, and can be mended."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banger.naming import tap_name
from tests.firecracker_home import (
    OPTIONS,
    create,
    files_of,
    node_of,
    prepare,
    start_daemon,
    state,
    with_devices,
)
from tests.ordinary_user import OrdinaryUser, root_side_for
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("root", "tap", "e2fsprogs", "firecracker", "bare-kvm")


def is_told(text: str, *words: str) -> None:
    """The three lines of every error: what failed, why, and what to type."""
    lines = [
        line for line in text.splitlines() if line.startswith(("error: ", "  cause:", "  try:"))
    ]
    assert [line.split(":")[0].strip() for line in lines[:3]] == ["error", "cause", "try"], text
    assert "Traceback" not in text
    for word in words:
        assert word in text, text


@pytest.fixture
def tiny(home: Home) -> Home:
    prepare(home)
    start_daemon(home)
    return home


@pytest.fixture
def clean(tiny: Home, leaves_nothing: Callable[[], None]) -> Iterator[None]:
    yield
    tiny.ok("vm", "delete", "--all", "--force")


def refused(banger: Home, vm_id: str, *words: str) -> None:
    result = banger("start", "web", "--no-wait")
    assert result.status != 0
    is_told(result.stderr, *words)
    assert not banger.paths.vm_runtime(vm_id).exists()


def runs(banger: Home) -> None:
    banger.ok("start", "web", "--no-wait")
    assert state(banger, "web") == "running"
    banger.ok("kill", "web")


@pytest.mark.usefixtures("clean")
def test_an_interface_that_another_program_holds(tiny: Home) -> None:
    create(tiny, "--name", "web")
    vm_id = tiny.json("show", "web")["id"]
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        # linux/if_tun.h: TUNSETIFF, IFF_TAP | IFF_NO_PI; it goes with its descriptor.
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", tap_name(vm_id).encode(), 0x1002))
        index = Path(f"/sys/class/net/{tap_name(vm_id)}/ifindex").read_text()
        refused(tiny, vm_id, f"the interface {tap_name(vm_id)}", "carries no mark")
        assert Path(f"/sys/class/net/{tap_name(vm_id)}/ifindex").read_text() == index
    finally:
        os.close(tun)
    runs(tiny)


@pytest.mark.usefixtures("clean")
def test_sockets_that_nobody_serves_are_no_obstacle(tiny: Home) -> None:
    create(tiny, "--name", "web")
    paths, vm_id = tiny.paths, tiny.json("show", "web")["id"]
    paths.vm_runtime(vm_id).mkdir(parents=True, mode=0o700)
    for path in (paths.monitor_socket(vm_id), paths.agent_socket(vm_id)):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
    runs(tiny)
    assert not paths.vm_runtime(vm_id).exists()


@needs("qemu-img")
@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("storage", ["copy", "reflink", "qcow2"])
def test_a_layer_removed_under_a_stopped_vm(tiny: Home, storage: str) -> None:
    vmm = ("--vmm", "qemu") if storage == "qcow2" else ()
    options = (*OPTIONS, *files_of(tiny), *vmm, "--name", "web", "--storage", storage)
    made = tiny("create", *options)
    if made.status != 0:
        # What this host cannot have is refused, and nothing is made.
        is_told(made.stderr)
        assert tiny.json("ls") == []
        return
    vm_id = tiny.json("show", "web")["id"]
    folder = tiny.paths.vm(vm_id)
    (layer,) = [path for path in folder.iterdir() if re.search("root|overlay", path.name)]
    away = layer.with_name("away")
    layer.rename(away)
    refused(tiny, vm_id, "the root disk of VM", str(layer))
    assert tiny.json("ls")[0]["state"] in ("failed", "stopped")
    away.rename(layer)
    if storage != "qcow2":  # a tiny guest needs KVM, and QEMU here may have none
        runs(tiny)


@needs("sudo", "nft")
def test_what_an_ordinary_user_lacks(home: Home) -> None:
    """One installation for all: KVM closed, TAPs closed, and a root side of another version."""
    prepare(home)
    user = OrdinaryUser(home)
    for device in ("/dev/kvm", "/dev/net/tun"):
        os.chown(node_of(home, device), 0, 0)
    with root_side_for(home) as place:
        try:
            started = user("daemon", "start", within=with_devices(home))
            assert started.returncode == 0, started
            user.ok("create", *OPTIONS, *files_of(home), "--name", "web", "--network", "tap")

            def fails(*words: str) -> None:
                done = user("start", "web", "--no-wait")
                assert done.returncode != 0, done
                is_told(done.stderr, *words)
                links = [path.name for path in Path("/sys/class/net").iterdir()]
                marks = [Path("/sys/class/net", name, "ifalias").read_text() for name in links]
                assert not [mark for mark in marks if mark.startswith(f"banger:{user.uid}:")]

            for device, words in (
                ("/dev/kvm", ("/dev/kvm", "adduser")),
                ("/dev/net/tun", ("/dev/net/tun",)),
            ):
                node = node_of(home, device)
                node.chmod(0o600)
                fails(*words)
                node.chmod(0o666)
            calls = place.prefix / "banger/privileged/calls.py"
            text = calls.read_text()
            calls.write_text(re.sub("CATALOGUE_VERSION = .*", "CATALOGUE_VERSION = 1", text))
            fails("of another version", "sudo banger setup")
            home.ok("setup", "--user", user.account.pw_name)
            user.ok("start", "web", "--no-wait")
            assert '"running"' in user.ok("show", "web", "--json")
        finally:
            user.end()
