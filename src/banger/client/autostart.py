"""Starts bangerd when its socket is silent, and replaces one of another build."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from banger.build import build_id
from banger.client.client import BangerClient
from banger.client.transport import NOT_THERE, ConnectionCut, DaemonSilent
from banger.errors import BangerError, DaemonUnreachable, InvalidInput
from banger.paths import Paths

#: Seconds until a started daemon must answer, and until a stopped one must be gone. One that dies
#: is noticed at once, so the first limit is for slow hosts: in a nested machine it takes 5 s.
START_DEADLINE = 30.0
STOP_DEADLINE = 10.0
#: Seconds between two looks at the socket.
PAUSE = 0.02


def connect(paths: Paths) -> BangerClient:
    """A client of a daemon that runs and is of this build, started or replaced as needed."""
    client = BangerClient(str(paths.socket), revive=lambda: start(paths))
    try:
        about = client.about()
    except NOT_THERE:
        start(paths)
        return client
    if about.get("build") != build_id():
        replace(client, paths)
    return client


def connect_running(paths: Paths) -> BangerClient:
    """A client of the daemon as it is; ``DaemonSilent`` on first use if none runs."""
    return BangerClient(str(paths.socket))


def replace(client: BangerClient, paths: Paths) -> None:
    """Put a daemon of this build in the place of the running one; VMs are not touched.

    One that is in the middle of an operation is left alone: it speaks the same API version,
    and ending it would undo work that may have taken minutes.
    """
    try:
        if client.operations(active=True):
            return
    except DaemonUnreachable:
        pass
    except BangerError:
        return
    stop(client)
    start(paths)


def stop(client: BangerClient) -> bool:
    """End the daemon and wait until its socket is silent; False if none ran."""
    try:
        client.stop_daemon()
    except DaemonSilent:
        return False
    except ConnectionCut:
        pass
    deadline = time.monotonic() + STOP_DEADLINE
    while time.monotonic() < deadline:
        try:
            client.about()
        except DaemonUnreachable:
            return True
        time.sleep(PAUSE)
    raise DaemonUnreachable(
        "bangerd does not end",
        cause=f"it still answers {STOP_DEADLINE:g} s after it was asked to stop",
        resolution="banger daemon logs",
    )


def start(paths: Paths) -> None:
    """Start bangerd and wait until it answers.

    Several clients may do this at once: the daemon's lock lets one win and the others exit
    with status 0, so only another status is a failure.
    """
    client = connect_running(paths)
    deadline = time.monotonic() + START_DEADLINE
    # The daemon creates its folders itself; only the log must exist before it does.
    log_size = prepare_log(paths.daemon_log)
    pid = 0
    while True:
        try:
            client.about()
        except NOT_THERE:
            pass
        else:
            return
        if not pid:
            pid = _launch(paths)
        status = _exit_status(pid)
        if status is not None:
            if status != 0:
                raise _not_started(f"it ended with status {status}", paths, log_size)
            # Another one holds the lock; if that is a daemon about to end, ours must come next.
            pid = 0
            time.sleep(PAUSE * 5)
        if time.monotonic() > deadline:
            raise _not_started(f"no answer within {START_DEADLINE:g} s", paths, log_size)
        time.sleep(PAUSE)


def daemon_argv() -> list[str]:
    """What runs bangerd of this build in the foreground."""
    # -P keeps the user's present folder out of the daemon's module search path.
    return [sys.executable, "-P", "-m", "banger.daemon.main"]


def _launch(paths: Paths) -> int:
    from banger.host.spawn import spawn_detached

    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    log = os.open(paths.daemon_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return spawn_detached(
            daemon_argv(), env=dict(os.environ), stdin=null, stdout=log, stderr=log, cwd=Path("/")
        )
    finally:
        os.close(null)
        os.close(log)


def _exit_status(pid: int) -> int | None:
    if not pid:
        return None
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if done else None


def prepare_log(log: Path) -> int:
    """Make the folder of the daemon's log and return the log's size. Raises ``InvalidInput``."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return log.stat().st_size if log.exists() else 0
    except OSError as error:
        raise InvalidInput(
            f"the state folder {log.parent} cannot be used",
            cause=error.strerror or str(error),
            resolution="set XDG_STATE_HOME to a folder that you can write to",
        ) from None


def _not_started(cause: str, paths: Paths, log_size: int) -> DaemonUnreachable:
    try:
        with paths.daemon_log.open("rb") as log:
            log.seek(max(log_size, 0))
            tail = log.read(16 * 1024).decode(errors="replace").strip().splitlines()[-20:]
    except OSError:
        tail = []
    return DaemonUnreachable(
        "bangerd could not be started",
        cause=cause,
        resolution="banger daemon logs",
        details="\n".join(tail),
    )
