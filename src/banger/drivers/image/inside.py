"""Works on a tree of anybody's where the tree is the whole world: a program of its own.

It runs in a user namespace, so that whatever the tree makes of it has no right on the host: an
ordinary user enters through ``unshare`` (``rootfs.NAMESPACE``), root by ``--map`` with ids that
nobody else has. Standard library only; what is needed is loaded before the world is left.

Its arguments are ``[--map] VERB ARGUMENTS``, where VERB is

- ``extract FD TREE``: fill TREE from the ext file system in the open file FD, print what is left
- ``extract-below FD TREE PATH``: the same with the plain files of one of its folders
- ``read TREE PATH``: print a file of the tree
- ``copy SOURCE TREE PATH``: put a folder of plain files into the tree
- ``keepable TREE``: of the list ``extract`` printed, given on standard input, print what still has
  its place in the tree
- ``guest TREE SHARE SCRIPT ARGUMENTS``: run a shell script of ours with the tree's programs
- ``run PROGRAM ARGUMENTS``: run a program of the host's on the tree, as its owner
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from banger.drivers.image import guest_root
from banger.drivers.image.ext4.extract import Extraction, Kept
from banger.drivers.image.ext4.volume import Damaged, Volume

#: The first of the host's ids that stand for those of a tree when root works on it. systemd leaves
#: this range to nobody (1879048192 and more), and jails end one below (``privileged/jail``).
FIRST_ID = 1900065536
IDS = 65536
#: linux/sched.h.
_NEW_USER = 0x10000000
#: The most that is read of a file, in bytes: a package database has a few MiB.
_READ_LIMIT = 64 * 1024 * 1024


def main(arguments: Sequence[str]) -> int:
    """Do as the arguments say. What goes wrong is one line on standard error."""
    words = list(arguments)
    try:
        if words[0] == "--map":
            del words[0]
            _become_mapped()
        return _VERBS[words[0]](words[1:])
    except Damaged as damage:
        sys.stderr.write(f"banger: {damage}\n")
    except OSError as error:
        where = f": {os.fsdecode(error.filename)}" if error.filename else ""
        sys.stderr.write(f"banger: {error.strerror}{where}\n")
    return 1


def _become_mapped() -> None:
    """Go on as the root of a new user namespace; only root may. The parent passes the end on."""
    asked, allowed = os.pipe(), os.pipe()
    child = os.fork()
    if child:
        os.close(asked[1])
        os.close(allowed[0])
        if os.read(asked[0], 1):
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{child}/{name}").write_text(f"0 {FIRST_ID} {IDS}")
            os.write(allowed[1], b"1")
        sys.exit(guest_root.status_of(os.waitpid(child, 0)[1]))
    os.close(asked[0])
    os.close(allowed[1])
    guest_root.die_with_parent()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "a user namespace")
    os.write(asked[1], b"1")
    if not os.read(allowed[0], 1):
        os._exit(1)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # Changing the user has taken this back.
    guest_root.die_with_parent()


def _enter(tree: str) -> None:
    os.chroot(tree)
    os.chdir("/")


def _extract(words: list[str]) -> int:
    descriptor, tree = int(words[0]), words[1]
    _enter(tree)
    extraction = Extraction(Volume(descriptor))
    extraction.everything()
    json.dump(extraction.kept, sys.stdout)
    return 0


def _extract_below(words: list[str]) -> int:
    descriptor, tree, path = int(words[0]), words[1], words[2]
    _enter(tree)
    Extraction(Volume(descriptor)).below(path)
    return 0


def _read(words: list[str]) -> int:
    tree, path = words
    _enter(tree)
    with Path(path).open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Damaged(f"{path} is no plain file")
        sys.stdout.buffer.write(file.read(_READ_LIMIT))
    return 0


def _copy(words: list[str]) -> int:
    source, tree, path = words
    top = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found = [(folder, sorted(files), fd) for folder, _, files, fd in _walk(top)]
    _enter(tree)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    for folder, names, fd in found:
        place = target / folder
        place.mkdir(mode=0o755)
        for name in names:
            _copy_file(fd, name, place / name)
        os.close(fd)
    return 0


def _walk(top: int) -> list[tuple[str, list[str], list[str], int]]:
    """As ``os.fwalk`` of an open folder, with descriptors that stay open."""
    walked = os.fwalk(".", dir_fd=top)
    return [(folder, folders, files, os.dup(fd)) for folder, folders, files, fd in walked]


def _copy_file(folder: int, name: str, target: Path) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=folder), "rb") as source:  # noqa: PTH123 - a descriptor
        with target.open("xb") as file:
            shutil.copyfileobj(source, file)
        times = os.fstat(source.fileno())
    target.chmod(0o644)
    os.utime(target, ns=(times.st_mtime_ns, times.st_mtime_ns))


def _keepable(words: list[str]) -> int:
    _enter(words[0])
    json.dump([item for item in json.load(sys.stdin) if _has_its_place(item)], sys.stdout)
    return 0


def _has_its_place(item: Kept) -> bool:
    path = bytes.fromhex(item["path"])
    if item["kind"] == "x":
        return os.path.lexists(path)
    folder = os.path.dirname(path) or b"/"  # noqa: PTH120 - bytes
    return os.path.isdir(folder) and not os.path.lexists(path)  # noqa: PTH112 - bytes


def _guest(words: list[str]) -> int:
    tree, share, script, *arguments = words
    return guest_root.run(tree, share, ("/bin/sh", "-c", script, "banger", *arguments))


def _run(words: list[str]) -> int:
    os.execvp(words[0], words)  # noqa: S606 - no shell is wanted


_VERBS = {
    "extract": _extract,
    "extract-below": _extract_below,
    "read": _read,
    "copy": _copy,
    "keepable": _keepable,
    "guest": _guest,
    "run": _run,
}
