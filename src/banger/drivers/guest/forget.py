"""Takes a VM's identity out of a root file system that is to become an image.

What every boot with banger writes there (``guest_files/settle`` and ``layer``), and what a system
keeps to tell itself from all others, must not be the same in two VMs. Where the base had such a
file, that is put back, so the image is as its base was; all else is the user's and stays.
"""

from __future__ import annotations

import contextlib
import os

from banger.drivers.guest.base import ForgetTarget
from banger.drivers.guest.layer import FOLDER
from banger.errors import CommandFailed, CorruptState
from banger.host.ext_files import memory_file
from banger.host.ext_tree import Entry, ExtTree, Wanted

#: Written anew at each boot, or kept by systemd(1) as secrets of one machine.
OWN = (
    "/etc/hostname",
    "/etc/machine-id",
    "/etc/resolv.conf",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
    "/etc/dropbear/dropbear_ed25519_host_key",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
)
HOSTS, KEYS = "/etc/hosts", "/root/.ssh/authorized_keys"
#: Behind each of our lines of /etc/hosts, and before our line of authorized_keys.
_HOSTS_MARK = b"# banger"
_KEYS_MARK = b"# The line below is written by banger at each boot."
#: In the folder of a VM whose initrd is not ours. The note of unpacked modules may stay.
_LAYER = ("busybox", "init", "identity.cpio", "modules.tar", "modules.stamp")


async def forget_identity(target: ForgetTarget) -> None:
    """See ``Guest``."""
    tree = ExtTree(target.device, target.journal, target.run_as)
    base = ExtTree(target.base, target.journal, target.run_as, read_only=True)
    await tree.repair(whole=True)
    remove: list[str] = []
    make: list[Wanted] = []
    folders: dict[str, str | None] = {}

    async def real(path: str) -> str:
        """The path without links on the way; empty if there can be no such file."""
        parent, _, name = path.rpartition("/")
        if parent not in folders:
            folders[parent] = await tree.real_folder(parent)
        folder = folders[parent]
        return "" if folder is None else f"{folder.rstrip('/')}/{name}"

    with contextlib.ExitStack() as opened:

        async def put(path: str, entry: Entry, content: bytes) -> None:
            if entry.is_file:
                descriptor = await memory_file(path, content)
                opened.callback(os.close, descriptor)
                make.append(Wanted(path, entry, descriptor))
            elif entry.link:
                make.append(Wanted(path, entry))

        for path in (*OWN, *(f"/{FOLDER}/{name}" for name in _LAYER)):
            if not (there := await real(path)):
                continue
            remove.append(there)
            before = await _look(base, path) if path in OWN else None
            if before is not None:
                await put(there, before, await base.content(path) if before.is_file else b"")
        for path, without in ((HOSTS, without_hosts), (KEYS, without_key)):
            there = await real(path)
            entry = await tree.look(there) if there else None
            if entry is None or not entry.is_file:
                continue
            content = await tree.content(there)
            left = without(content)
            if left != content:
                remove.append(there)
                if left or await _look(base, path) is not None:
                    await put(there, entry, left)
        await tree.change(remove, make)
    new = ["/root/.ssh"] if await _look(base, "/root/.ssh") is None else []
    for folder in (f"/{FOLDER}", *new):
        found = await tree.look(folder)
        if found is not None and found.is_folder:
            await tree.remove_empty_folder(folder)


def without_hosts(content: bytes) -> bytes:
    """The lines of /etc/hosts that are not ours."""
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.rstrip().endswith(_HOSTS_MARK))


def without_key(content: bytes) -> bytes:
    """The lines of authorized_keys without the mark and the one below it."""
    kept, skip = [], False
    for line in content.splitlines(keepends=True):
        if line.rstrip() == _KEYS_MARK:
            skip = True
        elif skip:
            skip = False
        else:
            kept.append(line)
    return b"".join(kept)


async def _look(base: ExtTree, path: str) -> Entry | None:
    """As in a base without the file where there is no base any more, or it may not be read."""
    try:
        return await base.look(path)
    except (CommandFailed, CorruptState):
        return None
