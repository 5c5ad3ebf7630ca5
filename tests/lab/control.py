"""Asks the agent in the lab host to run commands; several threads may ask at once."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Any

from tests.lab.machine import SPEED

#: Seconds beyond a command's own limit until the lab host counts as stalled.
GRACE = 30.0


class LabStalled(RuntimeError):
    """The lab host did not answer in time, or is gone. A fresh restore is worth one try."""


class Control:
    """One connection to the agent."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(None)
        self._ids = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    with self._changed:
                        self._answers[answer["id"]] = answer
                        self._changed.notify_all()
        except (OSError, ValueError):
            pass
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def request(self, timeout: float, **fields: Any) -> dict[str, Any]:
        """Send one request and wait for its answer, ``timeout`` seconds. Raises ``LabStalled``."""
        number = next(self._ids)
        data = json.dumps({"id": number, "timeout": timeout * SPEED, **fields}).encode() + b"\n"
        with self._sending:
            try:
                self._socket.sendall(data)
            except OSError as error:
                raise LabStalled(f"the lab host is gone: {error}") from error
        with self._changed:
            self._changed.wait_for(lambda: self._closed or number in self._answers, timeout + GRACE)
            if number not in self._answers:
                why = "is gone" if self._closed else f"did not answer in {timeout + GRACE:g} s"
                raise LabStalled(f"the lab host {why}: {fields.get('argv')}")
            return self._answers.pop(number)

    def wake(self) -> None:
        """Give a restored host the time of day and random numbers of its own."""
        seed = base64.b64encode(os.urandom(64)).decode()
        self.request(30, wake={"time": time.time(), "seed": seed})

    def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        timeout: float = 60,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command there. Raises ``subprocess.TimeoutExpired`` or ``LabStalled``."""
        answer = self.request(
            timeout,
            argv=argv,
            stdin=base64.b64encode(stdin).decode(),
            user=user,
            env=dict(env or {}),
            cwd=cwd,
        )
        out, err = (base64.b64decode(answer[name]) for name in ("stdout", "stderr"))
        if answer["status"] is None:
            raise subprocess.TimeoutExpired(argv, timeout, out, err)
        return subprocess.CompletedProcess(argv, answer["status"], out, err)

    def close(self) -> None:
        """End the connection; whoever still waits gets ``LabStalled``."""
        with contextlib.suppress(OSError):  # QEMU may be gone
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(5)
        self._socket.close()
