"""From the start of bangerd to its first answer, and the memory it then takes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.commands import fill
from bench.measure import Goal, Sample, figure, interleaved, report
from tests.plugins.home import Home


def _answer(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: banger\r\nConnection: close\r\n\r\n")
        return connection.recv(64).startswith(b"HTTP/1.1 200")
    return False


class Starter:
    """Starts and ends the daemon of one home, and remembers what it weighed."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.resident: list[float] = []

    def once(self) -> float:
        home = self.home
        started = time.monotonic()
        daemon = subprocess.Popen(
            [sys.executable, "-P", "-m", "banger.daemon.main"],
            env=home.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not _answer(home.paths.socket):
            if daemon.poll() is not None or time.monotonic() - started > 30:
                raise SystemExit(f"bangerd does not answer (status {daemon.poll()})")
            time.sleep(0.002)
        seconds = time.monotonic() - started
        status = Path(f"/proc/{daemon.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        self.resident.append(int(line.split()[1]) / 1024)
        home.ok("daemon", "stop")
        daemon.wait(30)
        return seconds


def run(rounds: int) -> list[str]:
    """Starts with an empty state and with 100 VMs to recover."""
    homes = [Home(Path(tempfile.mkdtemp(prefix="bgr-"))) for _ in range(2)]
    try:
        fill(homes[1], 100)
        empty, hundred = (Starter(home) for home in homes)
        samples = interleaved(
            {"start to first answer": empty.once, "the same, 100 VMs stored": hundred.once}, rounds
        )
    finally:
        for home in homes:
            home.clear()
    goals = {"start to first answer": Goal(250), "the same, 100 VMs stored": Goal(1000)}
    lines = report("daemon", samples, goals)
    resident = Sample("resident", tuple(empty.resident)).median
    return [*lines, figure("resident memory, idle", resident, Goal(60, unit="MiB"))]
