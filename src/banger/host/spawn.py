"""Starts children that outlive us, and those that have our terminal: the one place that does."""

from __future__ import annotations

import functools
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from banger.errors import HostNotReady
from banger.host import process
from banger.host.command import find_program

#: How long a child may take until it runs the program (with setpriv it takes 1 ms), and the pause
#: between two looks, in seconds.
_EXEC_SECONDS, _EXEC_PAUSE = 10.0, 0.0005


def spawn_detached(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int,
    stdout: int,
    stderr: int,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
    run_as: tuple[int, int] | None = None,
    extra_groups: Sequence[int] = (),
) -> int:
    """Start ``argv`` in a session of its own and return its pid.

    ``argv[0]`` is an absolute path, ``env`` the whole environment. ``stdin``, ``stdout`` and
    ``stderr`` are open descriptors (or ``subprocess.DEVNULL``, -3). ``run_as`` is the
    ``(uid, gid)`` to drop to, with ``extra_groups`` as the only further groups. Nobody waits
    for the child here: ``process.wait_gone`` reaps it. It blocks until the child runs
    ``argv[0]``, which takes some milliseconds. Raises ``HostNotReady``.
    """
    # Python would copy this whole process (fork) to change the user in the copy: 5 ms of CPU
    # with 60 MB. setpriv does it in a process that shares our memory until it runs (vfork).
    prefix = () if run_as is None else _as_user(run_as, extra_groups)
    with _explained(argv):
        child = subprocess.Popen(
            [*prefix, *argv],
            env=dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            start_new_session=True,
        )
    pid = child.pid
    # The object would otherwise try to reap the child when it is collected, and complain.
    child.returncode = 0
    _until_begun(pid, before=process.argv_of(os.getpid()), passed=prefix)
    return pid


@contextmanager
def _explained(argv: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostNotReady(
            f"{argv[0]} could not be started",
            cause=error.strerror or str(error),
            resolution="banger doctor",
            details=" ".join(argv),
        ) from error


def _as_user(user: tuple[int, int], extra_groups: Sequence[int]) -> tuple[str, ...]:
    """The start of a command line that runs the rest of it as ``(uid, gid)``; see setpriv(1)."""
    uid, gid = user
    listed = ",".join(str(group) for group in extra_groups)
    groups = f"--groups={listed}" if listed else "--clear-groups"
    return (_setpriv(os.environ.get("PATH", "")), f"--reuid={uid}", f"--regid={gid}", groups, "--")


@functools.lru_cache(maxsize=1)
def _setpriv(_path: str) -> str:
    """Where it is by this ``PATH``: to look for it takes more calls than all else here."""
    return str(find_program("setpriv", "util-linux").resolve())


def _until_begun(pid: int, *, before: list[str], passed: Sequence[str]) -> None:
    """Return when the child has left the command lines ``before`` (ours) and ``passed`` behind.

    The identity of a VMM is read right after its start, and that of a copy of this process would
    never be found again. A command line is empty for a moment while the kernel changes programs.
    """
    deadline = time.monotonic() + _EXEC_SECONDS
    while time.monotonic() < deadline and process.start_ticks(pid) is not None:
        now = process.argv_of(pid)
        if now and now != before and not (passed and now[: len(passed)] == list(passed)):
            return
        time.sleep(_EXEC_PAUSE)


def spawn_in_terminal(argv: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Start ``argv`` with our own terminal, in our own session, and return its pid.

    It gets the keys, the signals of the terminal and those of its size, as a shell's command
    does. ``argv[0]`` is an absolute path. The caller waits for it. Raises ``HostNotReady``.
    """
    with _explained(argv):
        child = subprocess.Popen(list(argv), env=dict(env))
    child.returncode = 0
    return child.pid
