"""Talks to the root side through sudo, and never waits for one that hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from banger.errors import BangerError, DeadlineExceeded, HostNotReady, PermissionRefused
from banger.host.command import base_environment, find_program
from banger.host.spawn import spawn_detached
from banger.privileged.calls import CATALOGUE_VERSION, Call, CallFailed, TapFacts, call_to_json

#: Seconds for a whole batch; the root side ends each call of its own accord before.
TIMEOUT = 90.0
SETUP = "sudo banger setup"
_LIMIT = 1024 * 1024
#: Root's processes that did not end in time: sudo cannot be killed by its user.
_abandoned: list[int] = []


def perform(
    program: Path,
    batch: Sequence[Call],
    stopped: Callable[[], bool] = lambda: False,
    timeout: float = TIMEOUT,
) -> list[TapFacts]:
    """Have the calls carried out. Raises ``CallFailed`` and banger's own errors."""
    reply = ask(program, batch, stopped, timeout)
    error = reply.get("error")
    if error:
        raise refusal(str(error.get("reason", "")), str(error.get("text", "")))
    try:
        return [TapFacts(**result) for result in reply["results"]]
    except (KeyError, TypeError) as wrong:
        raise _nonsense(program, str(wrong)) from wrong


def ask(
    program: Path,
    batch: Sequence[Call] = (),
    stopped: Callable[[], bool] = lambda: False,
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """The root side's whole reply. Raises ``PermissionRefused``, ``HostNotReady`` or
    ``DeadlineExceeded``.
    """
    request = {"version": CATALOGUE_VERSION, "calls": [call_to_json(call) for call in batch]}
    argv = (str(find_program("sudo")), "-n", str(program))
    stdout, stderr = _exchange(argv, json.dumps(request).encode(), stopped, timeout)
    try:
        reply = json.loads(stdout)
    except ValueError:
        reply = None
    if not stdout:
        raise PermissionRefused(
            "the root side of banger may not be started",
            cause=stderr.decode(errors="replace").strip()[-300:] or "sudo said nothing",
            resolution=SETUP,
        )
    if not isinstance(reply, dict):
        raise _nonsense(program, repr(stdout[:100]))
    if reply.get("version") != CATALOGUE_VERSION:
        text = f"banger asks in version {CATALOGUE_VERSION}, it is {reply.get('version')!r:.20}"
        raise refusal("version", text)
    return reply


def refusal(reason: str, text: str) -> BangerError | CallFailed:
    """The error for what the root side says about itself; others are about a call."""
    if reason == "version":
        brief = "the root side is of another version of banger"
    elif reason == "unsafe":
        brief = "the root side refuses to work where others could change it"
    else:
        return CallFailed(reason, text)
    return HostNotReady(brief, cause=text, resolution=SETUP)


def _exchange(
    argv: Sequence[str], request: bytes, stopped: Callable[[], bool], timeout: float
) -> tuple[bytes, bytes]:
    _reap()
    with contextlib.ExitStack() as stack:
        ask_file, error_file = (os.memfd_create(name) for name in ("request", "errors"))
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for descriptor in (ask_file, error_file, reader):
            stack.callback(os.close, descriptor)
        try:
            os.write(ask_file, request)
            os.lseek(ask_file, 0, os.SEEK_SET)
            os.set_blocking(writer, True)
            pid = spawn_detached(
                argv, env=base_environment(), stdin=ask_file, stdout=writer, stderr=error_file
            )
        finally:
            os.close(writer)
        _abandoned.append(pid)  # reaped below, or whenever it ends
        stdout = _read(reader, stopped, timeout)
        _reap(wait_for=pid)
        return stdout, os.pread(error_file, _LIMIT, 0)


def _read(reader: int, stopped: Callable[[], bool], timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    data = b""
    while len(data) <= _LIMIT:
        if time.monotonic() > deadline or stopped():
            raise DeadlineExceeded(
                f"the root side did not answer within {timeout:g} s",
                cause="it hangs, or the host is overloaded; what it began may still be done",
                resolution="banger doctor",
            )
        if select.select([reader], [], [], 0.1)[0]:
            piece = os.read(reader, 65536)
            if not piece:
                break
            data += piece
    return data


def _reap(wait_for: int = 0) -> None:
    """Take note of those that have ended; one that is about to end gets a second for it."""
    deadline = time.monotonic() + 1
    while True:
        for pid in list(_abandoned):
            with contextlib.suppress(ValueError):
                try:
                    if os.waitpid(pid, os.WNOHANG)[0] == pid:
                        _abandoned.remove(pid)
                except ChildProcessError:
                    _abandoned.remove(pid)
        if wait_for not in _abandoned or time.monotonic() > deadline:
            return
        time.sleep(0.002)


def _nonsense(program: Path, text: str) -> HostNotReady:
    return HostNotReady(
        f"{program} gave an answer that cannot be read", cause=text, resolution=SETUP
    )
