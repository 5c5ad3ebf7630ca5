"""What every VMM driver promises, tried on the fake and on each real one with tiny guests."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.vmm.base import VMM, BootSpec, NetworkDevice, RunState
from banger.drivers.vmm.firecracker.driver import FirecrackerVMM
from banger.drivers.vmm.firecracker.exit_reason import POWER_OFF_MARK
from banger.drivers.vmm.qemu.driver import QemuVMM
from banger.errors import BangerError, Conflict, InvalidInput, VMMFailed
from banger.host.tiny_guest import Then, tiny_guest
from banger.model.lifecycle import ExitReason
from banger.model.storage import Drive
from banger.model.vm import Machine
from banger.naming import new_id, process_name
from tests.fakes.vmm import FakeVMM
from tests.firecracker_vmm import real_firecracker, user_of
from tests.requirements import needs

#: Seconds that a tiny guest may take for anything, on a busy machine.
PATIENCE = 20.0

Boot = Callable[..., BootSpec]


@pytest.fixture(
    params=[
        "fake",
        pytest.param("qemu", marks=needs("qemu")),
        pytest.param("firecracker", marks=needs("firecracker", "bare-kvm")),
    ]
)
async def vmm(request: pytest.FixtureRequest) -> VMM:
    match request.param:
        case "qemu":
            return await QemuVMM.on_this_host("tcg")
        case "firecracker":
            return real_firecracker()
    return FakeVMM()


def kernel_for(vmm: VMM, message: bytes, then: Then) -> bytes:
    """A tiny guest that ends in the way this VMM has for it."""
    if isinstance(vmm, FirecrackerVMM) and then in ("poweroff", "reboot"):
        # A machine without a switch: the guest says what it means and resets.
        mark = POWER_OFF_MARK.encode() + b"\n" if then == "poweroff" else b""
        return tiny_guest(message + mark, "reset")
    return tiny_guest(message, then)


@pytest.fixture
async def boot(vmm: VMM, tmp_path: Path) -> AsyncIterator[Boot]:
    """Makes boot specs for tiny guests; what still runs after the test is ended."""
    specs: list[BootSpec] = []
    tmp_path.chmod(0o700)

    def make(
        message: bytes = b"hello\n", then: Then = "halt", kernel: bytes | None = None
    ) -> BootSpec:
        vm_id = new_id()
        folder = tmp_path / vm_id
        folder.mkdir(mode=0o700)
        file = folder / "kernel"
        file.write_bytes(kernel_for(vmm, message, then) if kernel is None else kernel)
        file.chmod(0o600)
        specs.append(
            BootSpec(
                vm_id=vm_id,
                process_name=process_name(os.geteuid(), vm_id),
                vcpus=1,
                memory_mib=64,
                kernel=file,
                initrd=None,
                arguments=(),
                drives=(),
                network=NetworkDevice(mac="02:00:00:00:00:01"),
                console_log=folder / "console.log",
                console_socket=folder / "console.sock",
                monitor_socket=folder / "monitor.sock",
                agent_socket=folder / "agent.sock",
                events=folder / "events.jsonl",
                log=folder / "vmm.log",
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


async def gone(vmm: VMM, machine: Machine) -> None:
    async with asyncio.timeout(PATIENCE):
        await vmm.wait(machine)


async def test_a_launched_guest_runs_and_is_found(vmm: VMM, boot: Boot) -> None:
    spec = boot(b"I run\n")
    machine = await vmm.launch(spec)
    assert vmm.is_alive(machine, spec.process_name)
    assert vmm.find(spec.process_name) == machine
    assert await vmm.run_state(spec.monitor_socket) is RunState.RUNNING
    await until(lambda: b"I run\n" in spec.console_log.read_bytes())


async def test_the_configuration_is_that_of_the_running_process(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    config = vmm.configuration(machine)
    assert json.loads(json.dumps(config)) == config
    assert config
    other = dataclasses.replace(machine, start_ticks=machine.start_ticks + 1)
    assert vmm.configuration(other) == {}, "another process of the same number"
    await vmm.kill(machine, spec.process_name)
    assert vmm.configuration(machine) == {}


async def test_only_we_may_use_the_sockets(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    await vmm.launch(spec)
    for socket in (spec.console_socket, spec.monitor_socket, spec.agent_socket):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600


async def test_nothing_is_found_where_nothing_was_launched(vmm: VMM) -> None:
    assert vmm.find(process_name(os.geteuid(), new_id())) is None


async def test_pause_and_resume_are_repeatable(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    await vmm.launch(spec)
    for _ in range(2):
        await vmm.pause(spec.monitor_socket)
        assert await vmm.run_state(spec.monitor_socket) is RunState.PAUSED
    for _ in range(2):
        await vmm.resume(spec.monitor_socket)
        assert await vmm.run_state(spec.monitor_socket) is RunState.RUNNING


async def test_the_power_key_of_a_guest_that_ignores_it(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    assert await vmm.press_power(spec.monitor_socket) is isinstance(vmm, FirecrackerVMM)
    assert vmm.is_alive(machine, spec.process_name)


async def test_kill_returns_when_the_process_is_gone(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    await vmm.kill(machine, spec.process_name)
    assert not vmm.is_alive(machine, spec.process_name)
    assert vmm.find(spec.process_name) is None
    await gone(vmm, machine)
    await vmm.kill(machine, spec.process_name)
    assert vmm.exit_of(spec.events, spec.console_log, spec.log).reason is ExitReason.VMM_DIED


async def test_a_paused_vmm_can_be_killed(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    await vmm.pause(spec.monitor_socket)
    await vmm.kill(machine, spec.process_name)
    assert not vmm.is_alive(machine, spec.process_name)


async def test_quit_ends_the_vmm_without_the_guest(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    assert await vmm.quit(spec.monitor_socket, timeout=PATIENCE)
    await gone(vmm, machine)
    assert vmm.exit_of(spec.events, spec.console_log, spec.log).reason is ExitReason.STOPPED


async def test_the_monitor_of_a_dead_vmm_refuses(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    await vmm.kill(machine, spec.process_name)
    assert not await vmm.quit(spec.monitor_socket, timeout=1)
    with pytest.raises(VMMFailed):
        await vmm.pause(spec.monitor_socket)
    with pytest.raises(VMMFailed):
        await vmm.run_state(spec.monitor_socket)


@pytest.mark.parametrize(
    ("message", "then", "reason"),
    [
        (b"bye\n", "poweroff", ExitReason.GUEST_SHUTDOWN),
        (b"again\n", "reset", ExitReason.GUEST_REBOOT),
        (b"again\n", "reboot", ExitReason.GUEST_REBOOT),
        (b"[1.0] Kernel panic - not syncing: x\n", "reset", ExitReason.GUEST_PANIC),
    ],
    ids=["poweroff", "reset", "reboot", "panic"],
)
async def test_the_reason_of_an_end_is_known(
    vmm: VMM, boot: Boot, message: bytes, then: Then, reason: ExitReason
) -> None:
    spec = boot(message, then)
    machine = await vmm.launch(spec)
    await gone(vmm, machine)
    assert not vmm.is_alive(machine, spec.process_name)
    assert vmm.exit_of(spec.events, spec.console_log, spec.log).reason is reason


async def test_an_old_panic_in_the_log_is_not_a_new_one(vmm: VMM, boot: Boot) -> None:
    first = boot(b"Kernel panic - not syncing: x\n", "reset")
    await gone(vmm, await vmm.launch(first))
    kernel = first.kernel
    kernel.write_bytes(tiny_guest(b"calm\n", "reset"))
    await gone(vmm, await vmm.launch(first))
    assert first.console_log.read_bytes() == b"Kernel panic - not syncing: x\ncalm\n"
    ended = vmm.exit_of(first.events, first.console_log, first.log)
    assert ended.reason is ExitReason.GUEST_REBOOT


def test_files_of_no_boot_explain_nothing(vmm: VMM, tmp_path: Path) -> None:
    ended = vmm.exit_of(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert ended.reason is ExitReason.VMM_DIED


async def test_a_text_file_is_no_kernel(vmm: VMM, boot: Boot) -> None:
    spec = boot(kernel=b"just some words\n" * 1000)
    with pytest.raises(InvalidInput, match="not a kernel"):
        await vmm.launch(spec)
    assert vmm.find(spec.process_name) is None
    assert not spec.monitor_socket.exists()


async def test_a_broken_kernel_fails_with_the_words_of_the_vmm(vmm: VMM, boot: Boot) -> None:
    spec = boot(kernel=tiny_guest(b"")[:200])
    started = time.monotonic()
    with pytest.raises(VMMFailed) as caught:
        await vmm.launch(spec)
    assert caught.value.cause
    assert time.monotonic() - started < PATIENCE
    assert vmm.find(spec.process_name) is None
    assert not spec.monitor_socket.exists()


async def test_a_vm_that_runs_is_not_launched_again(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    before = spec.events.read_bytes()
    with pytest.raises(Conflict):
        await vmm.launch(spec)
    assert vmm.is_alive(machine, spec.process_name)
    assert await vmm.run_state(spec.monitor_socket) is RunState.RUNNING
    assert spec.events.read_bytes().startswith(before)


async def test_two_vms_do_not_write_to_one_drive(vmm: VMM, boot: Boot, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    drive = Drive("root", disk, "raw")
    first, second = boot(), boot()
    await vmm.launch(structs.replace(first, drives=(drive,)))
    with pytest.raises(BangerError):
        await vmm.launch(structs.replace(second, drives=(drive,)))
    assert vmm.find(second.process_name) is None


async def test_it_starts_again_where_a_killed_one_left_its_sockets(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    await vmm.kill(await vmm.launch(spec), spec.process_name)
    assert spec.monitor_socket.exists()
    machine = await vmm.launch(spec)
    assert vmm.is_alive(machine, spec.process_name)


async def test_another_process_of_the_same_pid_is_not_it(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    others = [
        dataclasses.replace(machine, start_ticks=machine.start_ticks + 1),
        dataclasses.replace(machine, executable="/usr/bin/true"),
        dataclasses.replace(machine, boot_id="another boot"),
        dataclasses.replace(machine, pid=os.getpid()),
    ]
    for other in others:
        assert not vmm.is_alive(other, spec.process_name)
        await vmm.kill(other, spec.process_name)
    assert not vmm.is_alive(machine, process_name(os.geteuid(), new_id()))
    assert vmm.is_alive(machine, spec.process_name)


async def test_a_launch_that_is_cancelled_leaves_nothing(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    launch = asyncio.create_task(vmm.launch(spec))
    await asyncio.sleep(0)
    while vmm.find(spec.process_name) is None and not launch.done():  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    launch.cancel()
    try:
        machine = await launch
    except asyncio.CancelledError:
        assert vmm.find(spec.process_name) is None
        assert not spec.monitor_socket.exists()
    else:  # it was quicker
        assert vmm.is_alive(machine, spec.process_name)


async def test_many_at_once(vmm: VMM, boot: Boot) -> None:
    specs = [boot() for _ in range(8)]
    machines = await asyncio.gather(*(vmm.launch(spec) for spec in specs))
    assert len({machine.pid for machine in machines}) == len(specs)
    await asyncio.gather(
        *(vmm.kill(m, s.process_name) for m, s in zip(machines, specs, strict=True))
    )
    assert not any(vmm.find(spec.process_name) for spec in specs)


async def test_the_counters_of_a_guest_that_works_grow(vmm: VMM, boot: Boot) -> None:
    spec = boot(b"busy\n", "flood")
    machine = await vmm.launch(spec)
    first = await vmm.counters(machine, spec.monitor_socket, spec.events)
    assert 0 < first.resident_bytes < 64 << 30
    assert first.proportional_bytes is not None
    assert 0 < first.proportional_bytes <= first.resident_bytes
    assert (first.disk_read_bytes, first.disk_written_bytes) == (0, 0)
    later = first
    async with asyncio.timeout(PATIENCE):
        while later.cpu_seconds == first.cpu_seconds:
            await asyncio.sleep(0.02)
            later = await vmm.counters(machine, spec.monitor_socket, spec.events)
    assert later.cpu_seconds > first.cpu_seconds
    assert later.read_at > first.read_at


async def test_a_paused_vmm_is_counted_too(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    await vmm.pause(spec.monitor_socket)
    counters = await vmm.counters(machine, spec.monitor_socket, spec.events)
    assert counters.disk_written_bytes == 0


async def test_a_vmm_that_is_gone_counts_nothing(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    await vmm.kill(machine, spec.process_name)
    with pytest.raises(VMMFailed):
        await vmm.counters(machine, spec.monitor_socket, spec.events)


async def test_a_monitor_that_is_silent_leaves_only_its_figures_out(vmm: VMM, boot: Boot) -> None:
    spec = boot()
    machine = await vmm.launch(spec)
    spec.monitor_socket.unlink()
    started = time.monotonic()
    counters = await vmm.counters(machine, spec.monitor_socket, spec.events)
    assert counters.resident_bytes > 0
    assert time.monotonic() - started < PATIENCE
