"""Starts of tiny guests on the real Firecracker: the driver against a bare spawn and API calls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.firecracker import bodies, client
from banger.drivers.vmm.firecracker.driver import FirecrackerVMM
from banger.drivers.vmm.firecracker.version import parse_version
from banger.errors import BangerError
from banger.host.firecracker_binary import FirecrackerBinary
from banger.host.spawn import spawn_detached
from banger.host.tiny_guest import tiny_guest
from banger.naming import mac_address, new_id, process_name
from bench.hand_network import HandNetwork
from tests.firecracker_program import firecracker_program

#: VMs started in each turn, and how many at a time.
VMS = 64
WORKERS = (1, 4, 16)
#: The driver's rate against the bare one's.
GOAL = 0.5
#: Where sockets and logs of short life are kept in memory, as below ``/run/user``.
MEMORY = Path("/dev/shm")
Start = Callable[[BootSpec], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What ``count`` starts gave: VMs a second, the seconds of each, the PSS of one VMM in MiB.

    ``cpu`` is CPU seconds a start: of this process, of the programs that it ran, of the VMMs.
    """

    rate: float
    seconds: list[float]
    memory: float
    cpu: tuple[float, float, float]


def run(rounds: int) -> list[str]:
    program = firecracker_program()
    return asyncio.run(_measure(program, rounds))


async def _measure(program: FirecrackerBinary, rounds: int) -> list[str]:
    vmm = FirecrackerVMM(executable=program.path, version=parse_version(program.version))

    async def driver(spec: BootSpec) -> int:
        return (await vmm.launch(spec)).pid

    bare = bare_starter(program)
    lines = [f"tiny guests on Firecracker {program.version} (n={rounds} x {VMS} VMs, interleaved)"]
    memory = 0.0
    for workers in WORKERS:
        rates: dict[str, list[float]] = {"bare": [], "driver": []}
        seconds: list[float] = []
        for number in range(rounds):
            order: list[tuple[str, Start]] = [("bare", bare), ("driver", driver)]
            for name, start in order if number % 2 == 0 else reversed(order):
                found = await turn(start, workers, VMS)
                rates[name].append(found.rate)
                if name == "driver":
                    seconds += found.seconds
                    memory = max(memory, found.memory)
        ours, theirs = statistics.median(rates["driver"]), statistics.median(rates["bare"])
        ratio = ours / theirs
        verdict = "met" if ratio >= GOAL else f"MISSED (goal {GOAL})"
        cuts = statistics.quantiles(seconds, n=20)
        lines.append(
            f"  {workers:>2} workers: driver {ours:6.1f}/s, bare {theirs:6.1f}/s,"
            f" ratio {ratio:.2f} {verdict}; start p50 {cuts[9] * 1000:.0f} ms,"
            f" p95 {cuts[18] * 1000:.0f} ms"
        )
    lines.append(f"  most memory of one VMM above the guest's own: {memory:.1f} MiB (PSS)")
    return lines


def bare_starter(program: FirecrackerBinary) -> Start:
    """Starts without anything of banger around it."""

    async def bare(spec: BootSpec) -> int:
        return await _bare(program.path, spec)

    return bare


def networked_starter(program: FirecrackerBinary, network: HandNetwork) -> Start:
    """The same, with a TAP and its rules for each VM."""

    async def networked(spec: BootSpec) -> int:
        tap = await network.attach(spec.vm_id)
        device = NetworkDevice(mac=mac_address(spec.vm_id), tap=tap)
        return await _bare(program.path, structs.replace(spec, network=device))

    return networked


async def turn(start: Start, workers: int, count: int) -> Turn:
    """Start ``count`` VMs, so many at a time, and end them."""
    folder = Path(tempfile.mkdtemp(prefix="bgr-bench-", dir=MEMORY))
    pids: list[int] = []
    times: list[float] = []
    waiting = [_spec(folder) for _ in range(count)]

    async def work() -> None:
        while waiting:
            spec = waiting.pop()
            began = time.monotonic()
            pids.append(await start(spec))
            times.append(time.monotonic() - began)

    before, began = os.times(), time.monotonic()
    try:
        await asyncio.gather(*(work() for _ in range(workers)))
        seconds, after = time.monotonic() - began, os.times()
        own = after.user + after.system - before.user - before.system
        programs = sum(after[2:4]) - sum(before[2:4])
        cpu = (own / count, programs / count, vmm_cpu(pids))
        return Turn(count / seconds, times, pss_mib(pids[0]), cpu)
    finally:
        _end(pids)
        shutil.rmtree(folder)


def vmm_cpu(pids: Sequence[int]) -> float:
    """CPU seconds of one of the processes, on average, since it began.

    From the scheduler's account of each thread: the one in ``stat`` counts whole ticks.
    """
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    spent = (int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks)
    return sum(spent) / 1e9 / len(pids)


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Of the process, and of its children that have ended (proc(5), fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    user, system, users, systems = (
        int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:15]
    )
    return user + system, users + systems


def _end(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # a script's, which has ended
            os.waitpid(pid, 0)


def _spec(top: Path) -> BootSpec:
    vm_id = new_id()
    folder = top / vm_id
    folder.mkdir()
    kernel = folder / "kernel"
    kernel.write_bytes(tiny_guest(b"up\n"))
    return BootSpec(
        vm_id=vm_id,
        process_name=process_name(os.geteuid(), vm_id),
        vcpus=1,
        memory_mib=64,
        kernel=kernel,
        initrd=None,
        arguments=(),
        drives=(),
        network=NetworkDevice(mac="02:00:00:00:00:01"),
        console_log=folder / "console.log",
        console_socket=folder / "console.sock",
        monitor_socket=folder / "monitor.sock",
        agent_socket=folder / "agent.sock",
        events=folder / "events",
        log=folder / "log",
    )


async def _bare(program: Path, spec: BootSpec) -> int:
    """The least that starts the same machine: no checks, no records, no locks."""
    folder = spec.kernel.parent
    (folder / bodies.METRICS).touch()
    (folder / "log").touch()
    with (folder / "console.log").open("wb") as console:
        own = ("--id", spec.process_name, "--api-sock", "monitor.sock", "--log-path", "log")
        output = console.fileno()
        pid = spawn_detached(
            (str(program), *own),
            env={},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
        )
    while True:
        try:
            await client.call(spec.monitor_socket, bodies.GET_VERSION, timeout=10)
            break
        except BangerError:
            await asyncio.sleep(0.001)
    wanted = (*bodies.requests(spec, parse_version("1.12.1")), bodies.START)
    await client.calls(spec.monitor_socket, wanted, timeout=10)
    return pid


def pss_mib(pid: int) -> float:
    """Proportional memory of the process in MiB; a tiny guest touches next to none of its own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
