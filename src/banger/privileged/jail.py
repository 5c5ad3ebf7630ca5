"""Starts and ends jails: one user id, one folder and one control group each, host-wide."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import re
import select
import signal
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from banger.privileged import control_group, jail_calls, programs
from banger.privileged.calls import CallFailed, TapFacts
from banger.privileged.jail_calls import (
    FIRST_UID,
    JAILS,
    MOUNT_POINT,
    SHARED,
    UIDS,
    Cell,
    JailEnd,
    JailRecord,
    JailStart,
)
from banger.privileged.tap_marks import own

#: Runs the inner side with this request on its standard input, and returns its answer.
RunInside = Callable[[str], str]
_END_SECONDS = 10.0
#: linux/if_tun.h.
_TUNSETIFF, _TUNSETOWNER = 0x400454CA, 0x400454CC
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


def perform(call: JailStart | JailEnd, caller: int) -> TapFacts:
    """Carry out a checked call. Raises ``CallFailed`` and ``OSError``."""
    if isinstance(call, JailEnd):
        return end(call, caller)
    if call.tap and not own(call.name, call.alias).index:
        raise CallFailed("failed", f"there is no interface {call.name}")
    return start(call, caller, programs.run_inside)


def start(call: JailStart, caller: int, run_inside: RunInside) -> TapFacts:
    """Start Firecracker in a jail; ``index`` of the answer is its pid.

    Raises ``CallFailed``; nothing is left then.
    """
    mark = jail_calls.process_name(caller, jail_calls.vm_id_of(call.name))
    with _reserved(mark, call, caller) as record:
        try:
            if call.tap:
                _give_tap(call.name, record.uid)
            cell = Cell(caller, record.uid, mark, record.cgroup)
            request = json.dumps({"call": call.as_dict(), "cell": cell.as_dict()})
            reply = json.loads(run_inside(request) or '{"error": "it ended early"}')
            if "error" in reply:
                raise CallFailed("failed", f"the jail of {call.name}: {reply['error']}")
        except BaseException:
            _clear(mark, caller)
            tidy()
            raise
    return TapFacts(call.name, int(reply["pid"]), call.alias)


def end(call: JailEnd, caller: int) -> TapFacts:
    """End what runs in the jail and remove the jail. Raises ``CallFailed`` or ``OSError``."""
    mark = jail_calls.process_name(caller, jail_calls.vm_id_of(call.name))
    _clear(mark, caller)
    tidy()
    return TapFacts(call.name, 0, "")


@contextlib.contextmanager
def _reserved(mark: str, call: JailStart, caller: int) -> Iterator[JailRecord]:
    """The jail's folder with its record in it: whoever has written that has the user id."""
    folder = jail_calls.folder_of(mark)
    with _alone():
        record = jail_calls.read_record(mark)
        if record is not None and _processes_of(record.uid):
            raise CallFailed("failed", f"{mark} runs already, as user {record.uid}")
        _clear(mark, caller)
        uid = _free_uid(mark)
        folder.mkdir(mode=0o711)
        folder.chmod(0o711)
        (folder / MOUNT_POINT).mkdir(mode=0o700)
        (folder / SHARED).mkdir(mode=0o711)
        os.chown(folder / SHARED, uid, uid)
        record = JailRecord(uid, str(Path(call.console_input).parent), "")
        jail_calls.write_record(mark, record)
    try:
        limits = control_group.limits(call.vcpus, call.memory_mib)
        group = control_group.make(caller, mark, limits)
    except BaseException:
        _clear(mark, caller)
        tidy()
        raise
    if group:
        record = JailRecord(record.uid, record.runtime, group)
        jail_calls.write_record(mark, record)
    yield record


def _make_root(folder: Path) -> None:
    """Everybody may see which jails there are, as in the arguments of their processes: an
    ordinary user must find one whose process is gone."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o755)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise CallFailed("foreign", f"{folder} is not a folder of root's alone")
    folder.chmod(0o755)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """User ids are given by one at a time, whoever the users are.

    The folder of jails is there meanwhile, and goes when no jail is in it any more.
    """
    lock = JAILS / ".lock"
    descriptor = _locked(lock)
    while descriptor is None:
        descriptor = _locked(lock)
    try:
        yield
    finally:
        if list(JAILS.iterdir()) == [lock]:
            lock.unlink()
            # Somebody may have made another lock by now.
            with contextlib.suppress(OSError):
                JAILS.rmdir()
        os.close(descriptor)


def _locked(lock: Path) -> int | None:
    """The lock, held; None if it was removed by whoever had it before."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        _make_root(lock.parent)
        descriptor = os.open(lock, flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(descriptor), lock.lstat()):
            return descriptor
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def tidy() -> None:
    """Remove the folder of jails if there is none in it. Raises ``CallFailed`` or ``OSError``."""
    if JAILS.is_dir():
        with _alone():
            pass


def _free_uid(mark: str) -> int:
    """A user id that no jail, no account and no process has: as a rule the same at each start."""
    records = (jail_calls.read_record(path.name) for path in JAILS.iterdir() if path.is_dir())
    taken = {record.uid for record in records if record is not None}
    first = int.from_bytes(hashlib.sha256(mark.encode()).digest()[:4], "big")
    for step in range(UIDS):
        uid = FIRST_UID + (first + step) % UIDS
        if uid not in taken and not _has_account(uid) and not _processes_of(uid):
            return uid
    raise CallFailed("failed", f"all {UIDS} user ids of jails are taken")


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _give_tap(name: str, uid: int) -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(tun, _TUNSETOWNER, uid)
    finally:
        os.close(tun)


def _clear(mark: str, caller: int) -> None:
    record = jail_calls.read_record(mark)
    if record is not None:
        _end_processes(record.uid)
    control_group.remove(control_group.path_of(caller, mark))
    folder = jail_calls.folder_of(mark)
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        # Imported here: before a start, nothing is left as a rule.
        import shutil

        shutil.rmtree(folder)


def _end_processes(uid: int) -> None:
    """Nothing but a jail has this user id, so all of its processes are meant."""
    deadline = time.monotonic() + _END_SECONDS
    while pids := _processes_of(uid):
        for pid in pids:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                if _real_uid(pid) == uid:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    select.select([pidfd], [], [], max(0.0, deadline - time.monotonic()))
            finally:
                os.close(pidfd)
        if time.monotonic() > deadline:
            raise CallFailed("failed", f"process {pids[0]} of user {uid} does not end")


def _processes_of(uid: int) -> list[int]:
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in numbers if _real_uid(pid) == uid]


def _real_uid(pid: int) -> int | None:
    """Whose process it is; None for one that is gone or dead."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    if re.search(r"^State:\s+[ZX]", status, re.MULTILINE):
        return None
    found = re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else None
