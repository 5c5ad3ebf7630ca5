"""The saved lab host in the tests' cache: built when absent, found again by what it is made of."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lab import packages, root_tree
from tests.lab.control import Control
from tests.lab.machine import IMAGE_SIZE, SOURCE_SIZE, Files, Machine
from tests.plugins import built_image

#: Run once before the save, so that a session finds them in memory: all files, because a drive's
#: interrupts while guests run upset them, and the programs that tests run.
WARM_UP = """set -e
find / -xdev -type f -exec cat {} + >/dev/null
export HOME=/tmp
python3 -c 'import asyncio, json, sqlite3, ssl, urllib.request, email, ctypes
import click, dnslib, httptools, msgspec, rich.console, starlette.applications, uvicorn, uvloop'
ip link; nft list ruleset; dmsetup version; losetup; mke2fs -V; ssh -V; sudo -V; curl --version
firecracker --version; jailer --version; modprobe -V; tar --version; cp --version; date; ps
sudo -n -u dev true
rm -rf /tmp/*
sync; echo 1 >/proc/sys/vm/compact_memory
"""


def key() -> str:
    """A digest of all that decides the saved state: system, QEMU and this builder."""
    qemu = subprocess.run(
        ["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True
    )
    own = [Path(__file__), Path(__file__).with_name("machine.py")]
    parts = [packages.ingredients(), qemu.stdout, *(path.read_text() for path in own)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@functools.cache
def ensure_saved() -> Path:
    """The folder with ``root.ext4``, ``memory`` and ``state``; built now if there is none.

    It is held until this process ends, so that no other run takes it away.
    """
    top = built_image.cache()
    wanted = top / f"lab-{key()}"
    one_at_a_time = built_image.lock(top / "lab.lock", wait=True)
    try:
        built_image.hold(wanted)
        if not (wanted / "state").exists():
            for old in top.glob("lab-*/"):
                built_image.forget(old)
            shutil.rmtree(wanted, ignore_errors=True)
            wanted.mkdir(mode=0o700)
            root_tree.build(wanted)
            _save(wanted)
    finally:
        os.close(one_at_a_time)
    return wanted


def _save(folder: Path) -> None:
    """Boot once, warm up, and write memory and state."""
    with tempfile.TemporaryDirectory(prefix="bgr-lab-", dir="/tmp") as work:
        files = Files(
            folder, folder / "memory", Path(work, "source"), Path(work, "image"), Path(work)
        )
        for path, size in ((files.source, SOURCE_SIZE), (files.image, IMAGE_SIZE)):
            with path.open("wb") as file:
                file.truncate(size)
        machine = Machine(files, shared=True, incoming=False)
        try:
            control = Control(machine.connect_control())
            done = control.run("sh", "-c", WARM_UP, timeout=180)
            if done.returncode:
                raise RuntimeError(f"the lab host cannot be warmed up: {done.stderr.decode()}")
            machine.command("stop")
            state = folder / "state.half"
            machine.migrate("migrate", f"exec:cat > {state}")
            control.close()
            machine.command("quit")
            machine.process.wait(30)
            state.rename(folder / "state")
        finally:
            machine.end()
