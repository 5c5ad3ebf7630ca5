"""Starts of tiny guests through bangerd, against a bare spawn and API calls with as many workers.

The daemon's part is a whole start: journal, ``vm.json``, a TAP with its rules, the VMM's own user.
The bare part is what starts the same machine and nothing more (see ``bench.tiny_starts``); a
second one beside it also makes a TAP and rules for each VM (``bench.hand_network``). Both are one
Python process with all calls in one write; the third is the shell script that one writes by hand,
without a network (``bench.shell_script``). Rates suffer from whatever else runs on the machine, CPU
time a start hardly does: both are printed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from banger.client.client import BangerClient
from banger.host.firecracker_binary import FirecrackerBinary, take_given
from banger.host.tiny_guest import tiny_guest
from banger.paths import Paths
from bench.hand_network import hand_network
from bench.shell_script import scripted_starter
from bench.tiny_starts import (
    MEMORY,
    Start,
    Turn,
    bare_starter,
    cpu_seconds,
    networked_starter,
    pss_mib,
    turn,
    vmm_cpu,
)
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
        # As on a host with a login manager, and as the scripts have it.
        self.runtime = Path(tempfile.mkdtemp(prefix="bgr-", dir=MEMORY))
        self.home.environment["XDG_RUNTIME_DIR"] = str(self.runtime)
        self.home.paths = Paths.from_environment(self.home.environment, os.geteuid())
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
        shutil.rmtree(self.runtime)


@dataclass(slots=True)
class Figures:
    """What the turns with one number of clients gave."""

    bare: list[Turn] = field(default_factory=list)
    networked: list[Turn] = field(default_factory=list)
    script: list[Turn] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    create: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    #: CPU seconds a start: the daemon, the programs it ran, a VMM, the clients.
    cpu: list[tuple[float, ...]] = field(default_factory=list)

    def lines(self, workers: int) -> list[str]:
        ours = statistics.median(self.rate)
        bare, networked, script = (
            statistics.median(turn.rate for turn in turns)
            for turns in (self.bare, self.networked, self.script)
        )
        verdict = "met" if ours / bare >= GOAL else f"MISSED (goal {GOAL})"
        parts = ("daemon", "its programs", "VMM", "clients")
        times = f"create {_percentiles(self.create)}, start {_percentiles(self.start)}"
        return [
            f"  {workers:>2} clients: banger {ours:.1f}/s; {times}",
            f"     bare {bare:.1f}/s: ratio {ours / bare:.2f} {verdict}",
            f"     bare with TAP and rules {networked:.1f}/s: ratio {ours / networked:.2f}",
            f"     a shell script with curl {script:.1f}/s: ratio {ours / script:.2f}",
            f"     CPU a start: banger {_cpu(parts, self.cpu)}",
            f"       bare {_bare_cpu(self.bare)}",
            f"       bare with TAP and rules {_bare_cpu(self.networked)}",
            f"       a shell script with curl {_bare_cpu(self.script)}",
        ]


def run(rounds: int) -> list[str]:
    program = firecracker_program()
    household = Household()
    figures = {workers: Figures() for workers in WORKERS}
    loads = [os.getloadavg()[0]]
    try:
        for number in range(rounds):
            for workers, found in figures.items():
                parts = [
                    lambda w=workers, f=found: f.bare.append(_turn(bare_starter(program), w)),
                    lambda w=workers, f=found: f.networked.append(_networked_turn(program, w)),
                    lambda w=workers, f=found: f.script.append(_turn(scripted_starter(program), w)),
                    lambda w=workers, f=found: _through_daemon(household, w, f),
                ]
                for part in parts if number % 2 == 0 else reversed(parts):
                    part()
                loads.append(os.getloadavg()[0])
    finally:
        household.close()
    # One or two of the load are our own doing; the rest is what disturbed the measurement.
    load = f"load {min(loads):.1f} to {max(loads):.1f}"
    lines = [f"tiny guests through bangerd (n={rounds} x {VMS} VMs, interleaved; {load})"]
    for workers, found in figures.items():
        lines += found.lines(workers)
    memory = max(max(found.memory) for found in figures.values())
    lines.append(f"  most memory for a VM above the guest's own: {memory:.1f} MiB (VMM and daemon)")
    return lines


def _turn(start: Start, workers: int) -> Turn:
    return asyncio.run(turn(start, workers, VMS))


def _networked_turn(program: FirecrackerBinary, workers: int) -> Turn:
    with hand_network() as network:
        return _turn(networked_starter(program, network), workers)


def _through_daemon(household: Household, workers: int, found: Figures) -> None:
    names = [f"bench-{number}" for number in range(VMS)]
    before = pss_mib(household.pid)
    found.create += _timed(workers, household.create, names)[1]
    daemon, clients = cpu_seconds(household.pid), time.process_time()
    rate, seconds = _timed(workers, household.start, names)
    clients = time.process_time() - clients
    used = [(b - a) / VMS for a, b in zip(daemon, cpu_seconds(household.pid), strict=True)]
    found.rate.append(rate)
    found.start += seconds
    growth = (pss_mib(household.pid) - before) / VMS
    pids = [vm["pid"] for vm in household.client.vms(("name", "pid"))]
    found.cpu.append((*used, vmm_cpu(pids), clients / VMS))
    found.memory.append(growth + statistics.median(pss_mib(pid) for pid in pids))
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


def _bare_cpu(turns: Sequence[Turn]) -> str:
    return _cpu(("script", "its programs", "VMM"), [turn.cpu for turn in turns])


def _cpu(parts: Sequence[str], rounds: Sequence[Sequence[float]]) -> str:
    """Milliseconds of each part by their medians, and their sum."""
    medians = [statistics.median(column) * 1000 for column in zip(*rounds, strict=True)]
    each = ", ".join(f"{part} {value:.1f}" for part, value in zip(parts, medians, strict=True))
    return f"{sum(medians):.1f} ms ({each})"


def _percentiles(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=20)
    return f"p50 {cuts[9] * 1000:.0f} ms p95 {cuts[18] * 1000:.0f} ms"
