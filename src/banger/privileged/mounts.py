"""A mount table of our own, and mounts in it: the two calls that Python 3.11 does not have."""

from __future__ import annotations

import ctypes
import os

#: linux/sched.h and linux/mount.h.
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 32, 4096, 16384, 1 << 18


def own_table() -> None:
    """Give this process a copy of the mount table that nobody else sees. It ends with the last
    process in it, and every mount of it too."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise _error("a mount table of its own")
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2); raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    texts = [os.fsencode(text) or None for text in (source, target, kind, options)]
    if libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]) != 0:
        raise _error(target)


def bind(descriptor: int, target: str, *, writable: bool) -> None:
    """Let ``target`` be the open file; the descriptor must be of this mount table."""
    mount(f"/proc/self/fd/{descriptor}", target, "", MS_BIND)
    if not writable:
        mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
