"""Fills a jail and starts Firecracker in it: a process of its own, with a mount table of its own.

What is mounted here, device nodes and copies of programs among it, is seen by this process and
by Firecracker alone, and is gone with the last of them: nothing of it can be left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from banger.privileged import callers_files, jail_calls, mounts, own_files
from banger.privileged.jail_calls import (
    API_SOCKET,
    DIGESTS,
    MOUNT_POINT,
    SHARED,
    VSOCK,
    Cell,
    JailStart,
)

#: What the jail may write into itself beside the copies that it is given, in bytes.
_SPARE = 1024 * 1024
#: The most that a program, and that a kernel may hold, in bytes.
_PROGRAM_LIMIT, _KERNEL_LIMIT = 64 * 1024 * 1024, 512 * 1024 * 1024
_CHUNK = 8 * 1024 * 1024
#: Seconds until the API answers: about 0.02 here, 3 in an emulated machine.
_API_TIMEOUT = 20.0
#: The guest's end of its vsock: every Firecracker has a bus of its own, so one number does.
GUEST_CID = 3

#: Runs argv with three descriptors as its streams in a session of its own; its exit status.
Run = Callable[[Sequence[str], tuple[int, int, int]], int]


def main(data: bytes, run: Run) -> int:
    """Do what the request asks for and print the pid, else what is wrong."""
    os.umask(0o022)
    request = json.loads(data)
    call, cell = JailStart(**request["call"]), Cell(**request["cell"])
    reply: dict[str, object]
    try:
        reply = {"pid": fill_and_start(call, cell, run)}
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        reply = {"error": f"{error.strerror or error}{where}"}
    sys.stdout.write(json.dumps(reply))
    return 0


def jailer_argv(cell: Cell, base: str) -> tuple[str, ...]:
    """The jailer and its arguments, with Firecracker's own behind them (pure)."""
    return (
        f"{base}/programs/jailer",
        *("--id", cell.mark, "--exec-file", f"{base}/programs/firecracker"),
        *("--uid", str(cell.uid), "--gid", str(cell.uid)),
        *("--chroot-base-dir", base, "--new-pid-ns", "--"),
        *("--api-sock", f"{SHARED}/{API_SOCKET}", "--log-path", "log", "--level", "Info"),
    )


def fill_and_start(call: JailStart, cell: Cell, run: Run) -> int:
    """The pid of Firecracker as the host counts. Raises ``OSError``."""
    folder = jail_calls.folder_of(cell.mark)
    base = folder / MOUNT_POINT
    mounts.own_table()
    with contextlib.ExitStack() as stack:

        def opened(path: str, flags: int) -> int:
            descriptor = own_files.open_plain(path, flags)
            stack.callback(os.close, descriptor)
            return descriptor

        with callers_files.as_caller(cell.caller):
            programs = {"firecracker": call.firecracker, "jailer": call.jailer}
            sources = {name: opened(path, os.O_RDONLY) for name, path in programs.items()}
            kernel = opened(call.kernel, os.O_RDONLY)
            initrd = opened(call.initrd, os.O_RDONLY) if call.initrd else -1
            logs = {name: opened(getattr(call, name), os.O_RDWR) for name in ("log", "metrics")}
            drives = [
                (entry, opened(entry.path, os.O_RDWR if entry.writable else os.O_RDONLY))
                for entry in map(jail_calls.parse_drive, call.drives)
            ]
            streams = (
                opened(call.console_input, os.O_RDWR),
                opened(call.console_log, os.O_WRONLY | os.O_APPEND),
                opened(call.errors, os.O_RDWR | os.O_APPEND),
            )
        _check_streams(call, cell, streams)
        size = sum(os.fstat(fd).st_size for fd in (*sources.values(), sources["firecracker"]))
        size += _copied_bytes(kernel, call.kernel, cell.uid) + _SPARE
        mounts.mount("banger-jail", str(base), "tmpfs", mounts.MS_NOSUID, f"size={size},mode=0711")
        (base / "programs").mkdir(mode=0o700)
        for name, descriptor in sources.items():
            _copy_program(descriptor, base / "programs" / name, name)
        root = base / "firecracker" / cell.mark / "root"
        root.mkdir(parents=True, mode=0o755)
        _share_sockets(folder / SHARED, root / SHARED)
        _put_kernel(kernel, root / "kernel", cell.uid)
        if initrd >= 0:
            _put_file(initrd, root / "initrd", call.initrd, cell, writable=False)
        for name, descriptor in logs.items():
            _put_file(descriptor, root / name, getattr(call, name), cell, writable=True)
        for entry, descriptor in drives:
            _put_drive(descriptor, root / f"drive_{entry.id}", entry, cell)
        if cell.cgroup:
            Path(cell.cgroup, "cgroup.procs").write_text("0")
        if run(jailer_argv(cell, str(base)), streams) != 0:
            raise OSError(0, f"the jailer gave up: {_said(streams[2])}")
        pid = int((root / "firecracker.pid").read_text())
        _bring_up(folder / SHARED, cell, pid, streams[2])
        for name in DIGESTS:
            (base / "programs" / name).unlink()
    return pid


def _check_streams(call: JailStart, cell: Cell, streams: tuple[int, int, int]) -> None:
    status = os.fstat(streams[0])
    if not stat.S_ISFIFO(status.st_mode) or status.st_uid != cell.caller:
        raise OSError(0, "it is no FIFO of the caller's", call.console_input)
    own_files.require_own(streams[1], call.console_log, cell.caller)
    own_files.require_own(streams[2], call.errors, cell.caller)


def _copy_program(source: int, target: Path, name: str) -> None:
    """A copy that nobody can change any more, and only then looked at."""
    _copy(source, target, _PROGRAM_LIMIT)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    if digest != DIGESTS[name]:
        raise OSError(
            0, f"{name} is not the release that may be jailed (its SHA-256 begins {digest[:16]})"
        )
    target.chmod(0o755)


def _copy(source: int, target: Path, limit: int) -> None:
    if not stat.S_ISREG(os.fstat(source).st_mode) or os.fstat(source).st_size > limit:
        raise OSError(0, f"it is no regular file of at most {limit} bytes", target.name)
    copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        offset = 0
        while offset < limit and (sent := os.sendfile(copy, source, offset, _CHUNK)):
            offset += sent
    finally:
        os.close(copy)


def _copied_bytes(kernel: int, path: str, uid: int) -> int:
    """How much a copy of the kernel takes; nothing where the jail may open it as it is."""
    status = os.fstat(kernel)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _KERNEL_LIMIT:
        raise OSError(0, f"it is no regular file of at most {_KERNEL_LIMIT} bytes", path)
    return 0 if own_files.may(status, uid, os.R_OK) else status.st_size


def _put_kernel(kernel: int, target: Path, uid: int) -> None:
    """The kernel may be a file of the user's own, whose rights are not ours to change."""
    if own_files.may(os.fstat(kernel), uid, os.R_OK):
        target.touch()
        mounts.bind(kernel, str(target), writable=False)
        return
    _copy(kernel, target, _KERNEL_LIMIT)
    target.chmod(0o644)


def _put_file(source: int, target: Path, path: str, cell: Cell, *, writable: bool) -> None:
    wanted = os.R_OK | os.W_OK if writable else os.R_OK
    own_files.share(source, path, cell.caller, cell.uid, wanted)
    target.touch()
    mounts.bind(source, str(target), writable=writable)


def _put_drive(source: int, target: Path, entry: jail_calls.DriveEntry, cell: Cell) -> None:
    try:
        # For the time of the start: the jailer closes every descriptor but the three streams.
        fcntl.flock(source, (fcntl.LOCK_EX if entry.writable else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(0, "the drive is in use by another process", entry.path) from error
    status = os.fstat(source)
    if not stat.S_ISBLK(status.st_mode):
        _put_file(source, target, entry.path, cell, writable=entry.writable)
        return
    # The caller could open the device; so may the jail, by a node of its own.
    os.mknod(target, stat.S_IFBLK | (0o600 if entry.writable else 0o400), status.st_rdev)
    os.chown(target, cell.uid, cell.uid)


def _share_sockets(outside: Path, inside: Path) -> None:
    inside.mkdir(mode=0o755)
    mounts.mount(str(outside), str(inside), "", mounts.MS_BIND)


def _bring_up(shared: Path, cell: Cell, pid: int, errors: int) -> None:
    """Wait for the API, make the vsock, close the folder to the jail, give away the sockets.

    No guest runs yet, so that this Firecracker can still be trusted.
    """
    deadline = time.monotonic() + _API_TIMEOUT
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as api:
            api.settimeout(_API_TIMEOUT)
            try:
                api.connect(os.fspath(shared / API_SOCKET))
            except (FileNotFoundError, ConnectionRefusedError):
                pass
            else:
                _make_vsock(api)
                break
        if not Path(f"/proc/{pid}").exists() or time.monotonic() > deadline:
            raise OSError(0, f"Firecracker serves no API: {_said(errors)}")
        time.sleep(0.002)
    shared.chmod(0o711)
    os.chown(shared, 0, 0)
    for name in (API_SOCKET, VSOCK):
        path = shared / name
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(0, "it is no socket", str(path))
        path.chmod(0o600)
        os.chown(path, cell.caller, -1)


def _make_vsock(api: socket.socket) -> None:
    body = json.dumps({"guest_cid": GUEST_CID, "uds_path": f"{SHARED}/{VSOCK}"})
    head = f"PUT /vsock HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    api.sendall((head + body).encode())
    reply = api.recv(4096)
    if not reply.startswith(b"HTTP/1.1 204"):
        raise OSError(0, f"Firecracker makes no vsock: {reply.decode(errors='replace'):.200}")


def _said(errors: int) -> str:
    size = os.fstat(errors).st_size
    text = os.pread(errors, 2000, max(0, size - 2000)).decode(errors="replace")
    return " ".join(text.split())[-500:] or "it said nothing"
