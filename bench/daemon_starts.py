"""Starts of tiny guests through bangerd, against a bare spawn and API calls with as many workers.

The daemon's part is a whole start: journal, ``vm.json``, a TAP with its rules, the VMM's own user.
The bare part is what starts the same machine and nothing more (see ``bench.tiny_starts``).
"""

from __future__ import annotations

import asyncio
import os
import stat
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from banger.client.client import BangerClient
from banger.host.firecracker_binary import take_given
from banger.host.tiny_guest import tiny_guest
from bench.tiny_starts import bare_starter, pss_mib, turn
from tests.firecracker_program import firecracker_program
from tests.plugins.home import Home, program

#: VMs made and started in each turn, by how many clients at a time.
VMS = 32
WORKERS = (1, 4, 16)
#: The rate of starts against the bare one's.
GOAL = 0.5
_DEVICES = {"/dev/kvm": (10, 232), "/dev/net/tun": (10, 200)}


class Household:
    """A bangerd with a Firecracker, a tiny kernel and a root file system, and its client."""

    def __init__(self) -> None:
        self.home = Home(Path(tempfile.mkdtemp(prefix="bgr-")))
        self.kernel, self.rootfs = self.home.root / "kernel", self.home.root / "root.ext4"
        self.kernel.write_bytes(tiny_guest(b"up\n"))
        with self.rootfs.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", self.rootfs], check=True)
        self.home.paths.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        take_given(self.home.paths.firecracker, firecracker_program().path)
        self._start_daemon()
        self.client = BangerClient(str(self.home.paths.socket))
        self.pid: int = self.client.daemon()["pid"]

    def _start_daemon(self) -> None:
        """In a mount namespace where the VMM's user may open the devices, as on a usual host."""
        script = ["mount --make-rprivate /"]
        for device, (major, minor) in _DEVICES.items():
            node = self.home.root / device.replace("/", "_")
            os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            node.chmod(0o666)
            script.append(f"mount --bind {node} {device}")
        script.append('exec "$@"')
        argv = ["unshare", "--mount", "sh", "-ec", "\n".join(script), "sh"]
        subprocess.run(
            [*argv, *program(), "daemon", "start"], env=self.home.environment, check=True
        )

    def create(self, name: str) -> None:
        body = {
            "name": name, "vcpus": 1, "memory_mib": 64, "overlay_bytes": 64 << 20,
            "vmm": "firecracker", "kernel": str(self.kernel), "rootfs": str(self.rootfs),
        }  # fmt: skip
        self._finish(self.client.create_vm(body)["id"])

    def start(self, name: str) -> None:
        self._finish(self.client.act(name, "start", {"wait": False})["id"])

    def delete(self, name: str) -> None:
        self._finish(self.client.delete_vm(name, force=True)["id"])

    def _finish(self, operation_id: str) -> None:
        ended = self.client.operation(operation_id, wait=60)
        if ended["status"] != "succeeded":
            raise SystemExit(f"{ended['kind']}: {ended['error']}")

    def close(self) -> None:
        self.home.clear()


@dataclass(slots=True)
class Figures:
    """What the turns with one number of clients gave."""

    bare: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    create: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def lines(self, workers: int) -> list[str]:
        ours, theirs = statistics.median(self.rate), statistics.median(self.bare)
        ratio = ours / theirs
        verdict = "met" if ratio >= GOAL else f"MISSED (goal {GOAL})"
        cpu = statistics.median(self.cpu) * 1000
        rates = f"{workers:>2} clients: banger {ours:6.1f}/s, bare {theirs:6.1f}/s"
        times = f"create {_percentiles(self.create)}, start {_percentiles(self.start)}"
        return [
            f"  {rates}, ratio {ratio:.2f} {verdict}",
            f"     {times}, CPU of the daemon {cpu:.0f} ms a start",
        ]


def run(rounds: int) -> list[str]:
    bare = bare_starter(firecracker_program())
    household = Household()
    figures = {workers: Figures() for workers in WORKERS}
    try:
        for number in range(rounds):
            for workers, found in figures.items():
                parts = [
                    lambda w=workers, f=found: f.bare.append(asyncio.run(turn(bare, w, VMS))[0]),
                    lambda w=workers, f=found: _through_daemon(household, w, f),
                ]
                for part in parts if number % 2 == 0 else reversed(parts):
                    part()
    finally:
        household.close()
    lines = [f"tiny guests through bangerd (n={rounds} x {VMS} VMs, interleaved)"]
    for workers, found in figures.items():
        lines += found.lines(workers)
    memory = max(max(found.memory) for found in figures.values())
    lines.append(f"  most memory for a VM above the guest's own: {memory:.1f} MiB (VMM and daemon)")
    return lines


def _through_daemon(household: Household, workers: int, found: Figures) -> None:
    names = [f"bench-{number}" for number in range(VMS)]
    before = pss_mib(household.pid)
    found.create += _timed(workers, household.create, names)[1]
    used = _cpu_seconds(household.pid)
    rate, seconds = _timed(workers, household.start, names)
    found.cpu.append((_cpu_seconds(household.pid) - used) / VMS)
    found.rate.append(rate)
    found.start += seconds
    growth = (pss_mib(household.pid) - before) / VMS
    vmms = [pss_mib(vm["pid"]) for vm in household.client.vms(("name", "pid"))]
    found.memory.append(growth + statistics.median(vmms))
    _timed(16, household.delete, names)


def _timed(
    workers: int, work: Callable[[str], None], names: list[str]
) -> tuple[float, list[float]]:
    """Names a second, and the seconds that each took."""

    def once(name: str) -> float:
        began = time.monotonic()
        work(name)
        return time.monotonic() - began

    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        times = list(pool.map(once, names))
    return len(names) / (time.monotonic() - began), times


def _cpu_seconds(pid: int) -> float:
    """Of the process and of its children that have ended (proc(5), fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _percentiles(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=20)
    return f"p50 {cuts[9] * 1000:.0f} ms p95 {cuts[18] * 1000:.0f} ms"
