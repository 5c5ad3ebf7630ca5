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
from tests.lab.machine import GIVEN_SIZE, Files, Machine
from tests.plugins import built_image

#: Of the lab host: the file system of ``/root`` and ``/home``, by their own paths below it.
MEMORY = "/lab/memory"
#: Where the guest image lies there until a home gets it.
IMAGE_FOLDER = f"{MEMORY}/image"
#: Run once before the save, so that a session finds all in memory: the guest image and all files,
#: because a drive's interrupts while guests run upset them, and the programs that tests run.
WARM_UP = f"""set -e
mount -t ext4 -o ro /dev/vdb /mnt
cp -a /mnt/[0-9a-f]* {IMAGE_FOLDER}
umount /mnt
find / -xdev -type f -exec cat {{}} + >/dev/null
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
    """A digest of all that decides the saved state: system, QEMU, guest image, this builder."""
    qemu = subprocess.run(
        ["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True
    )
    own = [Path(__file__), Path(__file__).with_name("machine.py")]
    image = built_image.ensure_built().folder.name
    parts = [packages.ingredients(), qemu.stdout, image, *(path.read_text() for path in own)]
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
        files = Files(folder, folder / "memory", Path(work, "given"), Path(work))
        _pack_image(files.given)
        machine = Machine(files, shared=True, incoming=False)
        try:
            control = Control(machine.connect_control())
            done = control.run("sh", "-c", WARM_UP, timeout=600)
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


def _pack_image(drive: Path) -> None:
    """The tests' own guest image, in its folder, as an ext4 drive."""
    folder = built_image.ensure_built().folder
    with drive.open("wb") as file:
        file.truncate(GIVEN_SIZE)
    options = ("-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0")
    subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", folder.parent, drive], check=True
    )
