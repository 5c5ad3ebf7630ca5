"""Runs a program of a tree with the tree as its root, and with nothing of the host in sight.

The tree is untrusted, and so is what runs: its package scripts. It is root of the user namespace
that it is started in, and of namespaces of its own for mounts, processes, network and IPC: it sees
no file, process, socket or interface of the host. All mounts end with its last process.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Sequence
from pathlib import Path

#: Where the shared folder is mounted; nothing in a tree has this name.
SHARE = "/.banger-share"
_OLD = "/.banger-old"
#: linux/sched.h: mounts, host name, IPC, processes, network.
_NEW = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
#: linux/mount.h.
_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_DETACH = 2
#: linux/prctl.h.
_SET_PDEATHSIG, _SET_NO_NEW_PRIVS = 1, 38
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_DEVICES = ("null", "zero", "full", "random", "urandom")
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_CONFIG": f"{SHARE}/guest.conf",
}


def run(tree: str, share: str, argv: Sequence[str]) -> int:
    """The exit status of the program. Raises ``OSError`` if it cannot be started so."""
    _call("unshare", _NEW)
    child = os.fork()
    if child:
        return status_of(os.waitpid(child, 0)[1])
    die_with_parent()
    try:
        _enter(tree, share)
        os.execve(argv[0], list(argv), _ENVIRONMENT)  # noqa: S606 - no shell is wanted
    except OSError as error:
        text = f"banger: {error.strerror}: {error.filename or argv[0]}\n"
        os.write(2, text.encode(errors="replace"))
    os._exit(1)


def die_with_parent() -> None:
    """Be killed when the parent is gone."""
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def status_of(wait_status: int) -> int:
    """The exit status to pass on, as a shell gives it for a program that a signal ended."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def _enter(tree: str, share: str) -> None:
    _mount("none", "/", "", _REC | _PRIVATE)
    _mount(tree, tree, "", _BIND | _REC)
    for folder in (SHARE, _OLD):
        Path(tree + folder).mkdir(0o700)  # fails if anything is there, a link too
    _mount(share, tree + SHARE, "", _BIND)
    os.chdir(tree)
    _pivot_root(".", f".{_OLD}")
    # From here on, every link of the tree leads into the tree, or into what is taken away below.
    os.chdir("/")
    for folder in ("/proc", "/dev"):
        if not Path(folder).is_dir():
            Path(folder).mkdir(0o755)
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    _mount("dev", "/dev", "tmpfs", _NOSUID | _NOEXEC, "mode=755,size=1m")
    for name in _DEVICES:
        os.close(os.open(f"/dev/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        _mount(f"{_OLD}/dev/{name}", f"/dev/{name}", "", _BIND)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path(f"/dev/{name}").symlink_to(f"/proc/self/{target}")
    for name, mode in (("shm", 0o1777), ("pts", 0o755)):
        Path(f"/dev/{name}").mkdir()
        Path(f"/dev/{name}").chmod(mode)
    _call("umount2", os.fsencode(_OLD), _DETACH)
    Path(_OLD).rmdir()
    _call("sethostname", b"localhost", 9)
    ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.umask(0o022)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = [os.fsencode(text) or None for text in (source, target, kind, options)]
    _call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def _pivot_root(new: str, old: str) -> None:
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _call("syscall", ctypes.c_long(number), os.fsencode(new), os.fsencode(old))


def _call(name: str, *arguments: object) -> None:
    """A function of the C library that gives 0 when all is well. Raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        shown = [os.fsdecode(word) for word in arguments if isinstance(word, bytes)]
        raise OSError(number, os.strerror(number), f"{name} {' '.join(shown)}")
