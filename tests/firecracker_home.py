"""A home with the real Firecracker, a tiny guest and devices of the test's own."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from banger.host.firecracker_binary import take_given
from banger.host.tiny_guest import tiny_guest
from tests.firecracker_program import firecracker_program
from tests.plugins.home import Home, program

DEVICES = {"/dev/kvm": (10, 232), "/dev/net/tun": (10, 200)}
OPTIONS = ("--vmm", "firecracker", "--vcpu", "1", "--memory", "64M", "--overlay-size", "64M")


def node_of(home: Home, device: str) -> Path:
    """The test's own node of a device, open to everybody at first."""
    return home.root / device.replace("/", "_")


def prepare(home: Home) -> None:
    """Put Firecracker, a kernel that echoes, a root file system and the nodes into the home."""
    home.paths.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    take_given(home.paths.firecracker, firecracker_program().path)
    for device, (major, minor) in DEVICES.items():
        node = node_of(home, device)
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        node.chmod(0o666)
    (home.root / "kernel").write_bytes(tiny_guest(b"tiny guest up\n", "halt"))
    rootfs = home.root / "root.ext4"
    with rootfs.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", rootfs], check=True)


def with_devices(home: Home) -> list[str]:
    """What starts a program in a mount namespace where the test's nodes are the devices."""
    script = ["mount --make-rprivate /"]
    script += [f"mount --bind {node_of(home, device)} {device}" for device in DEVICES]
    script.append('exec "$@"')
    return ["unshare", "--mount", "sh", "-ec", "\n".join(script), "sh"]


def start_daemon(home: Home) -> None:
    argv = [*with_devices(home), *program(), "daemon", "start"]
    subprocess.run(argv, env=home.environment, check=True)


def files_of(home: Home) -> Sequence[str]:
    """The options that name kernel and root file system."""
    return ("--kernel", str(home.root / "kernel"), "--rootfs", str(home.root / "root.ext4"))


def create(banger: Home, *options: str) -> str:
    return banger.ok("create", *OPTIONS, *files_of(banger), *options)


def state(banger: Home, name: str) -> str:
    return str(banger.json("show", name)["state"])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
