"""A stopped VM gets other sizes, is copied, and gets a new root; the guests say what they see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.built_image import BuiltImage
from tests.plugins.fixtures import temporary_home
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("qemu", "image", "ssh")

GIB = 1024**3
#: Prints, one a line: vCPUs, KiB of memory, bytes of / and of /work, the notes, who it is.
LOOK = """nproc
awk '/MemTotal/ { print $2 }' /proc/meminfo
df -B1 --output=size / | tail -1
df -B1 --output=size /work | tail -1
cat /root/note 2>/dev/null || echo none
(cd /work && cat note)
hostname
cat /etc/machine-id
"""
WRITE = "echo kept >/root/note; cd /work; echo work >note; sync"


@pytest.fixture(scope="module")
def home(built_image: Path) -> Iterator[Home]:
    """A home with the stopped VM ``web``, which has written on both of its drives."""
    with temporary_home() as home:
        BuiltImage(built_image).give_to(home.paths)
        size = ("--memory", "256", "--vcpu", "1", "--disk-size", "128M")
        home.ok("run", "--name", "web", *size)
        home.ok("exec", "web", "--", "sh", "-c", WRITE)
        refused = home("vm", "set", "web", "--memory", "512")
        assert (refused.status, refused.stderr.splitlines()[-1]) == (
            5,
            "  try:   banger stop web",
        )
        home.ok("stop", "web")
        yield home


def vm(home: Home, name: str) -> dict[str, Any]:
    found: dict[str, Any] = home.json("show", name)
    return found


def look(home: Home, name: str) -> list[str]:
    lines: list[str] = home.ok("exec", name, "--", "sh", "-c", LOOK).split("\n")
    return [line.strip() for line in lines]


def test_the_guest_sees_its_new_sizes(home: Home) -> None:
    before = vm(home, "web")["overlay_bytes"]
    overlay = before + 2 * GIB
    sizes = ("--memory", "384", "--vcpu", "2", "--disk-size", "1G", "--overlay-size", f"{overlay}B")
    home.ok("vm", "set", "web", *sizes)
    shrink = home("vm", "set", "web", "--disk-size", "512M")
    assert (shrink.status, "cannot become smaller" in shrink.stderr) == (2, True)
    home.ok("start", "web")
    cpus, memory, root, work, note, work_note, *_ = look(home, "web")
    assert cpus == "2"
    assert 300_000 < int(memory) < 384 * 1024
    assert before < int(root) <= overlay
    assert 0.9 * GIB < int(work) <= GIB
    assert (note, work_note) == ("kept", "work")
    # Grown online, and whole: the kernel has found nothing to complain about.
    assert "EXT4-fs error" not in home.ok("logs", "web")
    home.ok("stop", "web")


def test_a_clone_is_another_vm(home: Home) -> None:
    home.ok("vm", "clone", "web", "copy")
    source, copy = vm(home, "web"), vm(home, "copy")
    for key in ("id", "address" if copy["network"] == "tap" else "ssh_port", "mac", "directory"):
        assert source[key] != copy[key], key
    home.ok("start", "web", "copy")
    seen, original = look(home, "copy"), look(home, "web")
    assert seen[:6] == original[:6]
    assert (seen[6], original[6]) == ("copy", "web")
    assert seen[7] != original[7]
    # Its own host key, known beforehand.
    key = "cat /etc/ssh/ssh_host_ed25519_key.pub"
    assert home.ok("ssh", "copy", "--", key) != home.ok("ssh", "web", "--", key)
    home.ok(
        "exec", "copy", "--", "sh", "-c", "echo other >/root/note; cd /work; echo other >note; sync"
    )
    assert look(home, "web")[4:6] == ["kept", "work"]
    home.ok("rm", "--force", "copy")
    home.ok("stop", "web")


def test_a_rebuilt_vm_keeps_work_disk_and_address(home: Home) -> None:
    before = vm(home, "web")
    refused = home("vm", "rebuild", "web")
    assert (refused.status, refused.stderr.splitlines()[-1]) == (
        2,
        "  try:   banger vm rebuild web --yes",
    )
    home.ok("vm", "rebuild", "web", "--yes")
    home.ok("start", "web")
    after = vm(home, "web")
    for key in ("id", "address", "mac", "ssh_port", "work_disk_bytes", "overlay_bytes"):
        assert after[key] == before[key], key
    assert look(home, "web")[4:7] == ["none", "work", "web"]
    assert home.ok("ssh", "web", "--", "hostname") == "web\n"
    home.ok("rm", "--force", "web")
