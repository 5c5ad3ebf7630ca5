"""What only the real QEMU can show: rights, descriptors, and reasons kept without a daemon."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.vmm import child, console_log
from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.qemu.driver import QemuVMM
from banger.errors import BangerError, VMMFailed
from banger.host import process
from banger.host.tiny_guest import Then, tiny_guest
from banger.model.lifecycle import ExitReason
from banger.model.storage import Drive
from banger.model.vm import Machine
from banger.naming import new_id, process_name, tap_name
from tests.requirements import needs

pytestmark = needs("qemu")

PATIENCE = 30.0
Boot = Callable[..., BootSpec]


@pytest.fixture
async def qemu() -> QemuVMM:
    return await QemuVMM.on_this_host("tcg")


@pytest.fixture
async def boot(qemu: QemuVMM, tmp_path: Path) -> AsyncIterator[Boot]:
    tmp_path.chmod(0o700)
    marks: list[str] = []

    def make(message: bytes = b"hello\n", then: Then = "halt") -> BootSpec:
        spec = spec_for(tmp_path, new_id())
        spec.kernel.write_bytes(tiny_guest(message, then))
        marks.append(spec.process_name)
        return spec

    yield make
    for mark in marks:
        machine = qemu.find(mark)
        if machine is not None:
            await qemu.kill(machine, mark)


def spec_for(parent: Path, vm_id: str) -> BootSpec:
    folder = parent / vm_id
    folder.mkdir(mode=0o700)
    return BootSpec(
        vm_id=vm_id,
        process_name=process_name(os.geteuid(), vm_id),
        vcpus=2,
        memory_mib=64,
        kernel=folder / "kernel",
        initrd=None,
        arguments=(),
        drives=(),
        network=NetworkDevice(mac="02:00:00:00:00:01"),
        console_log=folder / "console.log",
        console_socket=folder / "c.sock",
        monitor_socket=folder / "m.sock",
        agent_socket=folder / "a.sock",
        events=folder / "events",
        log=folder / "log",
        run_as=child.unprivileged_user(),
    )


async def ended(qemu: QemuVMM, machine: Machine, spec: BootSpec) -> ExitReason:
    async with asyncio.timeout(PATIENCE):
        await qemu.wait(machine)
    return qemu.exit_of(spec.events, spec.console_log, spec.log).reason


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


def proc(machine: Machine, name: str) -> str:
    return Path(f"/proc/{machine.pid}/{name}").read_text()


async def test_qemu_is_locked_in(qemu: QemuVMM, boot: Boot) -> None:
    spec = boot()
    machine = await qemu.launch(spec)
    status = dict(re.findall(r"^(\w+):\t(.*)$", proc(machine, "status"), re.MULTILINE))
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == 0
    assert "0" not in status["Uid"].split() if spec.run_as else True
    assert os.getsid(machine.pid) == machine.pid
    environment = proc(machine, "environ").split("\0")
    assert {entry.partition("=")[0] for entry in environment} <= {"PATH", "LC_ALL", "HOME", ""}


@needs("root")
async def test_root_hands_over_files_that_nobody_may_open(qemu: QemuVMM, boot: Boot) -> None:
    spec = boot()
    disk, initrd = spec.kernel.with_name("disk"), spec.kernel.with_name("initrd")
    disk.write_bytes(bytes(1 << 20))
    initrd.write_bytes(b"secret")
    for path in (spec.kernel, disk, initrd):
        path.chmod(0o600)
    machine = await qemu.launch(
        structs.replace(spec, initrd=initrd, drives=(Drive("root", disk, "raw"),))
    )
    assert proc(machine, "status").partition("Uid:\t")[2].split()[0] == str(spec.run_as and 65534)
    assert str(spec.kernel.parent) not in " ".join(process.argv_of(machine.pid))


async def test_no_descriptor_of_ours_is_left_open(qemu: QemuVMM, boot: Boot) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    machine = await qemu.launch(boot())
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    inherited = {str(path.readlink()) for path in Path(f"/proc/{machine.pid}/fd").iterdir()}
    assert not any("pytest" in name and "capture" in name for name in inherited)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGTERM, ExitReason.KILLED), (signal.SIGKILL, ExitReason.VMM_DIED)],
)
async def test_an_end_by_signal_is_told_apart(
    qemu: QemuVMM, boot: Boot, number: signal.Signals, reason: ExitReason
) -> None:
    spec = boot()
    machine = await qemu.launch(spec)
    os.kill(machine.pid, number)
    assert await ended(qemu, machine, spec) is reason


async def test_a_vmm_stopped_by_a_signal_can_be_killed(qemu: QemuVMM, boot: Boot) -> None:
    spec = boot()
    machine = await qemu.launch(spec)
    os.kill(machine.pid, signal.SIGSTOP)
    assert not await qemu.quit(spec.monitor_socket, timeout=0.2)
    await qemu.kill(machine, spec.process_name)
    assert not Path(f"/proc/{machine.pid}").exists()


LAUNCHER = """
import asyncio, sys
from pathlib import Path
from banger.drivers.vmm.qemu.driver import QemuVMM
from tests.integration.test_qemu_driver import spec_for
from banger.host.tiny_guest import tiny_guest
async def main():
    spec = spec_for(Path(sys.argv[1]), sys.argv[2])
    spec.kernel.write_bytes(tiny_guest(b"ready\\n", "echo"))
    qemu = await QemuVMM.on_this_host("tcg")
    print((await qemu.launch(spec)).pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def launched_by_another(folder: Path, vm_id: str) -> int:
    """The pid of a VMM whose launcher was killed as soon as it ran."""
    argv = [sys.executable, "-c", LAUNCHER, str(folder), vm_id]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as launcher:
        assert launcher.stdout is not None
        pid = launcher.stdout.readline()
        launcher.kill()
    return int(pid)


async def test_guest_and_reason_outlive_whoever_launched_it(qemu: QemuVMM, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    vm_id = new_id()
    pid = await asyncio.to_thread(launched_by_another, tmp_path, vm_id)
    mark = process_name(os.geteuid(), vm_id)
    machine = qemu.find(mark)
    assert machine is not None
    assert machine.pid == pid
    folder = tmp_path / vm_id
    await asyncio.to_thread(converse, folder / "c.sock", b"q", b"")
    async with asyncio.timeout(PATIENCE):
        await qemu.wait(machine)
    found = qemu.exit_of(folder / "events", folder / "console.log", folder / "log")
    assert found.reason is ExitReason.GUEST_SHUTDOWN


def converse(path: Path, text: bytes, until: bytes) -> bytes:
    """Say something on a console and read until an answer has come."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(text)
        got = b""
        while until and until not in got:
            got += client.recv(4096)
        return got


async def test_the_console_can_be_left_and_joined(qemu: QemuVMM, boot: Boot) -> None:
    spec = boot(b"welcome\n", "echo")
    await qemu.launch(spec)
    for word in (b"one", b"two"):
        assert word in await asyncio.to_thread(converse, spec.console_socket, word, word)
    await until(lambda: spec.console_log.read_bytes() == b"welcome\nonetwo")


async def test_a_flooded_log_is_cut_while_it_grows(qemu: QemuVMM, boot: Boot) -> None:
    spec = boot(b"x" * 4000 + b"\n", "flood")
    machine = await qemu.launch(spec)
    # Long enough a log to cut; the guest alone would take its time to write one.
    with spec.console_log.open("ab") as log:
        log.write(b"old\n" * (console_log.LIMIT // 4))
    await asyncio.sleep(0.1)
    qemu.bound_logs(spec.console_log, spec.events, spec.kernel.with_name("absent"))
    cut = spec.console_log.stat().st_size
    assert cut < console_log.LIMIT
    await until(lambda: spec.console_log.stat().st_size > cut)
    assert qemu.is_alive(machine, spec.process_name)
    assert b"\0" not in spec.console_log.read_bytes()


@needs("qemu-img")
async def test_an_image_is_shared_and_an_overlay_is_not(
    qemu: QemuVMM, boot: Boot, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.write_bytes(bytes(1 << 20))
    drives = []
    for name in ("one", "two"):
        overlay = tmp_path / name
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b"]
        subprocess.run([*create, str(base), str(overlay)], check=True)
        drives.append(Drive("root", overlay, "qcow2", base))
    for drive in drives:
        await qemu.launch(structs.replace(boot(), drives=(drive,)))
    with pytest.raises(VMMFailed, match="could not start") as caught:
        await qemu.launch(structs.replace(boot(), drives=(drives[0],)))
    assert "lock" in caught.value.cause


async def test_a_port_that_is_taken_is_said_so(qemu: QemuVMM, boot: Boot) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        spec = structs.replace(
            boot(), network=NetworkDevice(mac="02:00:00:00:00:01", ssh_port=port)
        )
        with pytest.raises(VMMFailed) as caught:
            await qemu.launch(spec)
    assert str(port) in caught.value.cause
    assert not spec.monitor_socket.exists()
    await qemu.launch(spec)
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


@needs("tap")
async def test_the_tap_is_handed_over(qemu: QemuVMM, boot: Boot) -> None:
    spec = boot()
    name = tap_name(spec.vm_id)
    subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"], check=True)
    try:
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        network = NetworkDevice(mac="02:00:00:00:00:01", tap=name)
        machine = await qemu.launch(structs.replace(spec, network=network))
        carrier = Path(f"/sys/class/net/{name}/carrier")
        assert carrier.read_text() == "1\n"
        with pytest.raises(BangerError, match=name):
            await qemu.launch(structs.replace(boot(), network=network))
        await qemu.kill(machine, spec.process_name)
        assert carrier.read_text() == "0\n"
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


@needs("image")
async def test_a_kernel_without_a_root_panics_and_is_known_to(
    qemu: QemuVMM, boot: Boot, built_image: Path
) -> None:
    spec = structs.replace(boot(), memory_mib=256, kernel=built_image / "vmlinux")
    machine = await qemu.launch(spec)
    assert await ended(qemu, machine, spec) is ExitReason.GUEST_PANIC
    detail = qemu.exit_of(spec.events, spec.console_log, spec.log).detail
    assert "Kernel panic - not syncing" in detail.splitlines()[0]
