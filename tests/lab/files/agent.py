"""Runs commands in the lab host for the tests outside: one JSON object a line, over virtio-serial.

A request has ``id`` and ``argv``, and may have ``stdin`` (base64), ``env``, ``user``, ``cwd`` and
``timeout`` (seconds). The answer has ``status`` (``None`` when the time was up), ``stdout`` and
``stderr`` (base64). Requests are worked on side by side.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pwd
import signal
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

PORT = "labctl"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: linux/random.h: RNDADDENTROPY and RNDRESEEDCRNG.
RNDADDENTROPY, RNDRESEEDCRNG = 0x40085203, 0x5207


def find_port() -> str:
    for path in Path("/sys/class/virtio-ports").glob("*/name"):
        if path.read_text().strip() == PORT:
            return f"/dev/{path.parent.name}"
    raise SystemExit(f"no virtio port {PORT}")


def wake(request: dict[str, Any]) -> dict[str, Any]:
    """After a restore: the time of outside, and random numbers that no other restore has."""
    time.clock_settime(time.CLOCK_REALTIME, request["time"])
    seed = base64.b64decode(request["seed"])
    with Path("/dev/urandom").open("wb", buffering=0) as random:
        fcntl.ioctl(random, RNDADDENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(random, RNDRESEEDCRNG)
    return {"status": 0, "stdout": "", "stderr": ""}


def run(request: dict[str, Any]) -> dict[str, Any]:
    if "wake" in request:
        return wake(request["wake"])
    account = pwd.getpwnam(request.get("user") or "root")
    environment = {
        "PATH": PATH,
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        **request.get("env", {}),
    }
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    # Files, not pipes: a daemon that a command leaves behind would keep a pipe open.
    with tempfile.TemporaryFile() as given, Streams() as streams:
        given.write(base64.b64decode(request.get("stdin", "")))
        given.seek(0)
        process = subprocess.Popen(
            request["argv"],
            stdin=given,
            stdout=streams.out,
            stderr=streams.err,
            env=environment,
            cwd=request.get("cwd") or account.pw_dir,
            start_new_session=True,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=groups,
        )
        status: int | None
        try:
            status = process.wait(request.get("timeout", 300))
        except subprocess.TimeoutExpired:
            status = None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return {"status": status, **streams.encoded()}


class Streams(contextlib.ExitStack):
    """Where a command's output goes."""

    def __init__(self) -> None:
        super().__init__()
        self.out = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it does
        self.err = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it does

    def encoded(self) -> dict[str, str]:
        told = {}
        for name, file in (("stdout", self.out), ("stderr", self.err)):
            file.seek(0)
            told[name] = base64.b64encode(file.read()).decode()
        return told


def main() -> None:
    port = os.open(find_port(), os.O_RDWR)
    lock = threading.Lock()

    def work(request: dict[str, Any]) -> None:
        try:
            answer = run(request)
        except Exception as error:  # noqa: BLE001 - the caller must hear of it, whatever it is
            text = f"lab agent: {type(error).__name__}: {error}\n"
            answer = {
                "status": 127,
                "stdout": "",
                "stderr": base64.b64encode(text.encode()).decode(),
            }
        data = json.dumps({"id": request.get("id"), **answer}).encode() + b"\n"
        with lock:
            while data:
                data = data[os.write(port, data) :]

    pending = b""
    while True:
        try:
            got = os.read(port, 1 << 16)
        except OSError:
            got = b""
        if not got:
            # Nobody is connected outside: wait for somebody, do not spin.
            time.sleep(0.05)
            continue
        pending += got
        *lines, pending = pending.split(b"\n")
        for line in lines:
            try:
                request = json.loads(line)
            except ValueError:
                continue  # the rest of a request whose sender was gone
            threading.Thread(target=work, args=(request,), daemon=True).start()


if __name__ == "__main__":
    main()
