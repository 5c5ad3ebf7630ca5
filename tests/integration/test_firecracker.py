"""The Firecracker driver on the real program with tiny guests: many, adopted, ended, refused."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import asdict, replace

from banger.drivers.vmm.base import BootSpec, NetworkDevice, RunState
from banger.drivers.vmm.firecracker import workspace
from banger.drivers.vmm.firecracker.driver import FirecrackerVMM
from banger.errors import Conflict, HostNotReady, InvalidInput, VMMFailed
from banger.host.tiny_guest import Then, tiny_guest
from banger.model.lifecycle import ExitReason
from banger.model.storage import Drive
from banger.model.vm import Machine
from banger.naming import new_id, process_name
from tests.firecracker_program import firecracker_program
from tests.firecracker_vmm import real_firecracker, user_of
from tests.requirements import needs

pytestmark = needs("firecracker", "bare-kvm")
PATIENCE = 20.0
Boot = Callable[..., BootSpec]


@pytest.fixture
def vmm() -> FirecrackerVMM:
    return real_firecracker()


@pytest.fixture
async def boot(vmm: FirecrackerVMM, tmp_path: Path) -> AsyncIterator[Boot]:
    specs: list[BootSpec] = []
    tmp_path.chmod(0o700)

    def make(message: bytes = b"up\n", then: Then = "halt", memory_mib: int = 64) -> BootSpec:
        vm_id = new_id()
        state, runtime = tmp_path / vm_id, tmp_path / f"{vm_id}.run"
        for folder in (state, runtime):
            folder.mkdir(mode=0o700)
        kernel = state / "kernel"
        kernel.write_bytes(tiny_guest(message, then))
        kernel.chmod(0o600)
        specs.append(
            BootSpec(
                vm_id=vm_id,
                process_name=process_name(os.geteuid(), vm_id),
                vcpus=1,
                memory_mib=memory_mib,
                kernel=kernel,
                initrd=None,
                arguments=("root=/dev/vda",),
                drives=(),
                network=NetworkDevice(mac="02:00:00:00:00:01"),
                console_log=state / "console.log",
                console_socket=runtime / "console.sock",
                monitor_socket=runtime / "monitor.sock",
                agent_socket=runtime / "agent.sock",
                events=state / "vmm-events.jsonl",
                log=state / "vmm.log",
                run_as=user_of(vmm),
            )
        )
        return specs[-1]

    yield make
    for spec in specs:
        machine = vmm.find(spec.process_name)
        if machine is not None:
            await vmm.kill(machine, spec.process_name)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


def printed(spec: BootSpec) -> bytes:
    return spec.console_log.read_bytes() if spec.console_log.exists() else b""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_hundred_at_once_and_nothing_left(vmm: FirecrackerVMM, boot: Boot) -> None:
    specs = [boot(f"I am {number}\n".encode()) for number in range(100)]
    await vmm.kill(await vmm.launch(boot()), specs[0].process_name)
    before = descriptors()
    started = time.monotonic()
    machines = await asyncio.gather(*(vmm.launch(spec) for spec in specs))
    print(f"100 VMs in {time.monotonic() - started:.2f} s")
    assert len({machine.pid for machine in machines}) == 100
    states = await asyncio.gather(*(vmm.run_state(spec.monitor_socket) for spec in specs))
    assert set(states) == {RunState.RUNNING}
    for number, spec in enumerate(specs):
        await until(lambda spec=spec, n=number: f"I am {n}\n".encode() in printed(spec))  # type: ignore[misc]
    pairs = list(zip(machines, specs, strict=True))
    await asyncio.gather(*(vmm.kill(machine, spec.process_name) for machine, spec in pairs))
    await asyncio.gather(*(vmm.wait(machine) for machine in machines))
    assert not [spec for spec in specs if vmm.find(spec.process_name)]
    assert descriptors() <= before


async def test_four_at_a_time_again_and_again(vmm: FirecrackerVMM, boot: Boot) -> None:
    before = descriptors()

    async def lives() -> None:
        spec = boot()
        for _ in range(6):
            machine = await vmm.launch(spec)
            await vmm.pause(spec.monitor_socket)
            await vmm.resume(spec.monitor_socket)
            assert await vmm.quit(spec.monitor_socket, timeout=PATIENCE)
            await vmm.wait(machine)
            assert not vmm.is_alive(machine, spec.process_name)

    await asyncio.gather(*(lives() for _ in range(4)))
    assert descriptors() <= before


async def test_a_guest_that_switches_itself_off_ends(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot(b"[   12.345678] reboot: System halted\n")
    machine = await vmm.launch(spec)
    async with asyncio.timeout(PATIENCE):
        await vmm.wait(machine)
    ended = vmm.exit_of(spec.events, spec.console_log, spec.log)
    assert ended.reason is ExitReason.GUEST_SHUTDOWN


async def test_one_that_only_talks_of_it_goes_on(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot(b"[   12.345678] reboot: System halted\n# ")
    machine = await vmm.launch(spec)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await vmm.wait(machine)
    assert vmm.is_alive(machine, spec.process_name)


async def test_the_console_takes_input_whoever_writes(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot(b"echo\n", "echo")
    await vmm.launch(spec)
    await until(lambda: b"echo\n" in printed(spec))
    for text in (b"first", b"second"):
        descriptor = os.open(spec.console_socket, os.O_WRONLY | os.O_NONBLOCK)
        os.write(descriptor, text)
        os.close(descriptor)
        await until(lambda text=text: text in printed(spec))  # type: ignore[misc]


async def test_it_outlives_who_launched_it_and_is_adopted(
    vmm: FirecrackerVMM, boot: Boot, tmp_path: Path
) -> None:
    spec = boot(b"echo\n", "echo")
    text = {name: str(value) for name, value in asdict(spec).items() if isinstance(value, Path)}
    plan = json.dumps(
        {
            "program": str(firecracker_program().path),
            "paths": text,
            "process_name": spec.process_name,
            "run_as": spec.run_as,
        }
    )
    launcher = subprocess.Popen(  # noqa: ASYNC220 - a daemon that dies
        [sys.executable, "-c", _LAUNCHER, plan],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert launcher.stdout is not None
    assert (await asyncio.to_thread(launcher.stdout.readline)).strip() == b"launched"
    launcher.send_signal(signal.SIGKILL)
    await asyncio.to_thread(launcher.communicate)
    machine = vmm.find(spec.process_name)
    assert machine is not None
    assert vmm.is_alive(machine, spec.process_name)
    await vmm.pause(spec.monitor_socket)
    assert await vmm.run_state(spec.monitor_socket) is RunState.PAUSED
    await vmm.resume(spec.monitor_socket)
    descriptor = os.open(spec.console_socket, os.O_WRONLY | os.O_NONBLOCK)
    os.write(descriptor, b"still here")
    os.close(descriptor)
    await until(lambda: b"still here" in printed(spec))
    assert await vmm.quit(spec.monitor_socket, timeout=PATIENCE)
    await vmm.wait(machine)
    ended = vmm.exit_of(spec.events, spec.console_log, spec.log)
    assert ended.reason is ExitReason.STOPPED


_LAUNCHER = """
import asyncio, json, sys, time
from pathlib import Path
from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.firecracker.driver import FirecrackerVMM
from banger.drivers.vmm.firecracker.version import Version
plan = json.loads(sys.argv[1])
run_as = tuple(plan["run_as"]) if plan["run_as"] else None
paths = {name: Path(text) for name, text in plan["paths"].items()}
spec = BootSpec(
    vm_id="adopted", process_name=plan["process_name"], vcpus=1, memory_mib=64, initrd=None,
    arguments=(), drives=(), network=NetworkDevice(mac="02:00:00:00:00:01"), run_as=run_as, **paths
)
async def main():
    vmm = FirecrackerVMM(executable=Path(plan["program"]), version=Version(1, 12, 1))
    await vmm.launch(spec)
    print("launched", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_failed_start_tells_why_and_leaves_nothing(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot(memory_mib=1)
    with pytest.raises(VMMFailed) as caught:
        await vmm.launch(spec)
    assert "kernel" in caught.value.cause.lower()
    assert str(spec.log) in caught.value.details
    assert vmm.find(spec.process_name) is None
    assert list(spec.monitor_socket.parent.iterdir()) == []
    machine = await vmm.launch(replace(spec, memory_mib=64))
    assert vmm.is_alive(machine, spec.process_name)


async def test_a_program_that_dies_at_once(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot()
    spec = replace(spec, process_name=spec.process_name + "_no_such_id")
    with pytest.raises(VMMFailed) as caught:
        await vmm.launch(spec)
    assert "invalid" in (caught.value.cause + caught.value.details).lower()
    assert list(spec.monitor_socket.parent.iterdir()) == []


async def test_stale_sockets_and_folders_are_no_obstacle(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot()
    folder = workspace.folder_of(spec.monitor_socket)
    folder.mkdir()
    for path in (folder / "api.sock", folder / "vsock.sock", spec.monitor_socket):
        path.touch()
    for path in (spec.agent_socket, spec.console_socket):
        path.touch()
    machine = await vmm.launch(spec)
    assert vmm.is_alive(machine, spec.process_name)


async def test_what_it_cannot_do_is_refused_before_anything_starts(
    vmm: FirecrackerVMM, boot: Boot, tmp_path: Path
) -> None:
    spec = boot()
    user = replace(spec, network=NetworkDevice(mac="02:00:00:00:00:01", ssh_port=2222))
    qcow2 = replace(spec, drives=(Drive("root", spec.kernel, "qcow2"),))
    bzimage = tmp_path / "bzImage"
    bzimage.write_bytes(bytes(0x202) + b"HdrS" + bytes(4096))
    compressed = replace(spec, kernel=bzimage)
    for wrong in (user, qcow2, compressed, replace(spec, vcpus=33)):
        with pytest.raises(InvalidInput):
            await vmm.launch(wrong)
    absent = replace(spec, network=NetworkDevice(mac="02:00:00:00:00:01", tap="bgrabsent"))
    with pytest.raises(HostNotReady, match="does not exist"):
        await vmm.launch(absent)
    assert vmm.find(spec.process_name) is None
    assert list(spec.monitor_socket.parent.iterdir()) == []


async def test_drives_are_held_until_the_vmm_ends(vmm: FirecrackerVMM, boot: Boot) -> None:
    first, second = boot(), boot()
    disk = first.kernel.with_name("disk")
    disk.write_bytes(bytes(1 << 20))
    disk.chmod(0o600)
    drives = (Drive("root", disk, "raw"),)
    machine = await vmm.launch(replace(first, drives=drives))
    with pytest.raises(Conflict):
        await vmm.launch(replace(second, drives=drives))
    await vmm.kill(machine, first.process_name)
    await vmm.launch(replace(second, drives=drives))


@pytest.mark.needs("root", "loop")
async def test_a_block_device_is_a_drive(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot()
    disk = spec.kernel.with_name("disk")
    disk.write_bytes(bytes(4 << 20))
    made = subprocess.run(
        ["losetup", "--find", "--show", disk], check=True, capture_output=True, text=True
    )
    device = made.stdout.strip()
    before = Path(device).stat()
    try:
        drives = (Drive("root", Path(device), "raw"),)
        machine = await vmm.launch(replace(spec, drives=drives))
        with pytest.raises(Conflict):
            await vmm.launch(replace(boot(), drives=drives))
        assert vmm.is_alive(machine, spec.process_name)
        await vmm.kill(machine, spec.process_name)
        after = Path(device).stat()
        assert (after.st_mode, after.st_gid) == (before.st_mode, before.st_gid)
        assert not [path for path in disk.parent.iterdir() if path.is_block_device()]
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@contextlib.contextmanager
def tap(name: str) -> Iterator[int]:
    """A TAP that goes when its descriptor is closed, and is free for others to open until then."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x5002))
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.mark.needs("root", "tap")
async def test_a_tap_taken_by_another_process(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot()
    name = f"bgr{spec.vm_id}"
    with tap(name):
        network = NetworkDevice(mac="02:00:00:00:00:01", tap=name)
        with pytest.raises((VMMFailed, HostNotReady)) as caught:
            await vmm.launch(replace(spec, network=network))
        assert "busy" in caught.value.cause.lower()
    assert vmm.find(spec.process_name) is None


@pytest.mark.needs("root", "tap", "ip")
async def test_a_tap_of_the_host_is_used(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot()
    name = f"bgr{spec.vm_id}"
    subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"], check=True)
    try:
        network = NetworkDevice(mac="02:00:00:00:00:01", tap=name)
        machine: Machine = await vmm.launch(replace(spec, network=network))
        assert vmm.is_alive(machine, spec.process_name)
        await vmm.kill(machine, spec.process_name)
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


async def test_metrics_and_logs_are_bounded(vmm: FirecrackerVMM, boot: Boot) -> None:
    spec = boot()
    await vmm.launch(spec)
    metrics = workspace.metrics_of(spec.events)
    await until(lambda: metrics.stat().st_size > 0)
    with metrics.open("ab") as file:
        file.write(b"{}\n" * 3_000_000)
    vmm.bound_logs(spec.console_log, spec.log, spec.events)
    assert metrics.stat().st_size < 4_300_000
