"""Puts a VM's identity into its own root drive, for an initrd that is not ours or none at all.

Any initrd starts the program that the kernel argument ``init=`` names, and so does a kernel
without one. We name a script of ours, ``/.banger/init``, which stands with a static busybox in the
VM's writable layer; it does there what our own initrd does elsewhere (``guest_files/settle``),
then starts the system's own init. The identity is the same archive on both roads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from banger.drivers.guest.base import Identity, LayerTarget
from banger.drivers.guest.guest_files import guest_file
from banger.drivers.guest.identity import identity_archive
from banger.errors import InvalidInput
from banger.host.ext_files import ExtFiles, NewFile, memory_file
from banger.host.files import explained
from banger.host.static_busybox import static_busybox
from banger.host.threads import in_thread

#: Where everything lies in the guest.
FOLDER = ".banger"
#: What makes the guest's kernel, or its initrd, start our script.
ARGUMENT = f"init=/{FOLDER}/init"
_VERSION = re.compile(r"[0-9]+\.[0-9]+[A-Za-z0-9._+~-]*\Z")


async def write_layer(identity: Identity, target: LayerTarget, *, now: int) -> None:
    """Write the identity of one boot, and the kernel modules unless the guest has them.

    ``now`` is Unix time in seconds. Raises ``HostNotReady`` without a static busybox or room in
    the layer, ``CorruptState`` for a file system that cannot be repaired or written to.
    """
    layer = ExtFiles(target.device, FOLDER, target.journal, target.run_as)
    contents = {
        "busybox": (await in_thread(lambda _: static_busybox().read_bytes()), 0o755),
        "init": (guest_file("layer_init"), 0o755),
        "identity.cpio": (identity_archive(identity, now=now), 0o600),
    }
    await layer.repair()
    with contextlib.ExitStack() as opened:
        files = []
        for name, (content, mode) in contents.items():
            descriptor = await memory_file(name, content)
            opened.callback(os.close, descriptor)
            files.append(NewFile(name, descriptor, mode))
        if target.modules is not None:
            folder = target.modules
            stamp = (await in_thread(lambda _: stamp_of(folder))).encode()
            if (await layer.read("modules.done")).strip() != stamp:
                descriptor = await memory_file("stamp", stamp)
                opened.callback(os.close, descriptor)
                archive = opened.enter_context(_packed(folder, target.journal.parent))
                await in_thread(lambda _: pack(folder, archive))
                files += [NewFile("modules.stamp", descriptor), NewFile("modules.tar", archive)]
        await layer.write(files)


def versions_in(folder: Path) -> dict[str, Path]:
    """The kernels whose modules a user's folder holds: version -> folder.

    It may be one version's own folder, ``lib/modules``, or what a kernel package was unpacked
    into. Raises ``InvalidInput`` if it is none of them.
    """
    brief = f"the modules folder {str(folder)!r:.200} cannot be used"
    cure = "give a folder such as /lib/modules/VERSION, or one with a kernel package unpacked"
    if not folder.is_absolute() or not folder.is_dir():
        raise InvalidInput(brief, cause="it is not the absolute path of a folder", resolution=cure)
    try:
        if _VERSION.match(folder.name) and _has_modules(folder):
            return {folder.name: folder}
        for top in (folder, folder / "lib/modules", folder / "usr/lib/modules"):
            found = {
                child.name: child
                for child in (sorted(top.iterdir()) if top.is_dir() else ())
                if _VERSION.match(child.name) and _has_modules(child)
            }
            if found:
                return found
    except OSError as error:
        raise InvalidInput(brief, cause=str(error), resolution=cure) from error
    raise InvalidInput(brief, cause="no kernel's modules are in it", resolution=cure)


def _has_modules(folder: Path) -> bool:
    return folder.is_dir() and any(
        (folder / name).exists() for name in ("kernel", "modules.dep", "modules.order")
    )


def stamp_of(folder: Path) -> str:
    """Changes when anything in the modules folder does: a digest of names, sizes and times."""
    digest = hashlib.sha256()
    for version, top in versions_in(folder).items():
        for path in sorted(top.rglob("*")):
            facts = path.lstat()
            line = f"{version}/{path.relative_to(top)} {facts.st_size} {facts.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def pack(folder: Path, descriptor: int) -> None:
    """Write the modules as a tar of ``VERSION/...``, all root's, into an open file.

    What is neither file nor folder stays behind: ``build`` and ``source`` lead to sources that no
    guest has.
    """
    with (
        explained(f"pack the modules of {folder}"),
        os.fdopen(os.dup(descriptor), "wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for version, top in versions_in(folder).items():
            archive.add(top, arcname=version, filter=_as_root)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (member.isfile() or member.isdir()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755 if member.isdir() else 0o644
    return member


@contextlib.contextmanager
def _packed(folder: Path, where: Path) -> Iterator[int]:
    """A file on disk without a name, as long as it is needed; whoever inherits it may read it."""
    with explained(f"pack the modules of {folder}"), tempfile.TemporaryFile(dir=where) as file:
        os.fchmod(file.fileno(), 0o644)
        yield file.fileno()


def copy_modules(folder: Path, target: Path) -> None:
    """Copy the modules as ``target/VERSION/...``, times included: so their stamp stays the same."""
    with explained(f"copy the modules of {folder}"):
        for version, top in versions_in(folder).items():
            shutil.copytree(top, target / version, symlinks=True)
        for path in [target, *target.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)  # whatever it was, it must be possible to remove it
