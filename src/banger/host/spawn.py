"""Starts children that outlive us, and those that have our terminal: the one place that does."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from banger.errors import HostNotReady


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
    for the child here: ``process.wait_gone`` reaps it. Raises ``HostNotReady``.
    """
    user, group = run_as if run_as is not None else (None, None)
    try:
        child = subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            user=user,
            group=group,
            extra_groups=list(extra_groups) if run_as is not None else None,
            start_new_session=True,
        )
    except OSError as error:
        raise HostNotReady(
            f"{argv[0]} could not be started",
            cause=error.strerror or str(error),
            resolution="banger doctor",
            details=" ".join(argv),
        ) from error
    pid = child.pid
    # The object would otherwise try to reap the child when it is collected, and complain.
    child.returncode = 0
    return pid


def spawn_in_terminal(argv: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Start ``argv`` with our own terminal, in our own session, and return its pid.

    It gets the keys, the signals of the terminal and those of its size, as a shell's command
    does. ``argv[0]`` is an absolute path. The caller waits for it. Raises ``HostNotReady``.
    """
    try:
        child = subprocess.Popen(list(argv), env=dict(env))
    except OSError as error:
        raise HostNotReady(
            f"{argv[0]} could not be started",
            cause=error.strerror or str(error),
            resolution="banger doctor",
            details=" ".join(argv),
        ) from error
    child.returncode = 0
    return child.pid
