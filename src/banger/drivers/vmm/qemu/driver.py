"""The QEMU driver: runs VMs on QEMU's ``microvm`` machine, unprivileged and sandboxed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from banger.drivers.vmm import child, console_log
from banger.drivers.vmm.architecture import KERNEL_HEAD, Accelerator, Architecture, of_host
from banger.drivers.vmm.base import (
    COUNTERS_TIMEOUT,
    BootSpec,
    Capabilities,
    Counters,
    RunState,
    VMMExit,
)
from banger.drivers.vmm.child import DiskCounters
from banger.drivers.vmm.qemu import configuration, exit_reason, monitor, user_ports
from banger.drivers.vmm.qemu.block_stats import disk_counters
from banger.drivers.vmm.qemu.command_line import Platform, render
from banger.drivers.vmm.qemu.descriptors import may_read, opened
from banger.errors import DeadlineExceeded, HostNotReady, InvalidInput, VMMFailed
from banger.host.command import Command, find_program, run
from banger.host.files import explained
from banger.host.spawn import spawn_detached
from banger.host.tsc import tsc_khz
from banger.model.network import Forward
from banger.model.vm import Machine

#: How long QEMU may take from its start to a running guest, in seconds: about 0.1 on an idle
#: machine, so that this means "never".
LAUNCH_TIMEOUT = 60.0
#: How long pause and resume may take, in seconds; they take milliseconds.
_MONITOR_TIMEOUT = 5.0
_TAIL = 64 * 1024
_NOTE_LIMIT = 4096
#: QEMU runs in it, with nothing of ours: no variable can change what it does.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/"}
_KVM = Path("/dev/kvm")


class QemuVMM:
    """Implements ``drivers.vmm.base.VMM``. Make one with ``on_this_host``."""

    name = "qemu"

    def __init__(
        self,
        *,
        executable: Path,
        version: str,
        accelerator: Accelerator,
        architecture: Architecture,
        clock: Callable[[], int | None] = tsc_khz,
    ) -> None:
        self._executable = executable
        self._version = version
        self._accelerator: Accelerator = accelerator
        self._architecture = architecture
        self._clock = clock

    @classmethod
    async def on_this_host(cls, accelerator: Accelerator) -> QemuVMM:
        """The driver for the installed QEMU. Raises ``HostNotReady`` if there is none.

        ``accelerator`` is ``kvm`` only where KVM was proved to boot a Linux guest.
        """
        architecture = of_host()
        executable = find_program(architecture.emulator, architecture.package)
        answer = await run(Command((str(executable), "--version"), timeout=20))
        found = re.search(r"version (\S+)", answer.text)
        return cls(
            executable=executable,
            version=found[1] if found else "unknown",
            accelerator=accelerator,
            architecture=architecture,
        )

    def capabilities(self) -> Capabilities:
        return Capabilities(
            pause=True,
            user_network=True,
            qcow2=True,
            agent=True,
            accelerator=self._accelerator,
            version=self._version,
        )

    async def launch(self, spec: BootSpec) -> Machine:
        self._check_kernel(spec.kernel)
        groups = self._groups(spec.run_as)
        khz = await asyncio.to_thread(self._clock) if self._accelerator == "tcg" else None
        platform = Platform(self._executable, self._architecture, self._accelerator, khz)
        # Cut at this moment, so that what is cut later in this boot belongs to this boot.
        with explained(f"shorten the log {spec.console_log}"):
            console_log.bound(spec.console_log, limit=console_log.LIMIT // 2)
        note = exit_reason.boot_note(console_log.size_of(spec.console_log))
        with opened(spec, note) as descriptors:
            try:
                start = functools.partial(
                    spawn_detached,
                    render(spec, descriptors, platform),
                    env=_ENVIRONMENT,
                    stdin=descriptors.commands,
                    stdout=descriptors.events,
                    stderr=descriptors.log,
                    pass_fds=descriptors.inherited(),
                    cwd=Path("/"),
                    run_as=spec.run_as,
                    extra_groups=groups,
                )
                pid = await child.spawned(start)
            except BaseException:
                _remove_sockets(spec)
                raise
        # From here on only QEMU holds its sockets: when it ends, whoever waits there is told.
        machine = child.identify(pid, self._accelerator, self._version)
        if machine is None:
            _remove_sockets(spec)
            raise _launch_failure(spec, "it ended at once")
        try:
            await _until_running(spec.monitor_socket)
        except BaseException as error:
            if isinstance(error, VMMFailed) and exit_reason.has_run(_text(spec.events)):
                return machine  # a short life: it ended before it could be asked
            await asyncio.shield(child.end(machine, spec.process_name))
            _remove_sockets(spec)
            if isinstance(error, (VMMFailed, DeadlineExceeded)):
                raise _launch_failure(spec, error.cause) from error
            raise
        return machine

    def find(self, process_name: str) -> Machine | None:
        pid = child.find_marked(process_name, self._executable)
        if pid is None:
            return None
        return child.identify(pid, self._accelerator, self._version)

    def is_alive(self, machine: Machine, process_name: str) -> bool:
        return child.is_same(machine, process_name)

    def configuration(self, machine: Machine) -> dict[str, object]:
        return configuration.of_process(machine)

    async def wait(self, machine: Machine) -> None:
        await child.wait_gone(machine)

    def exit_of(self, spec_events: Path, console_log: Path, log: Path) -> VMMExit:
        return _exit_of(spec_events, console_log, log)

    def bound_logs(self, *logs: Path) -> None:
        for log in logs:
            with contextlib.suppress(OSError):
                console_log.bound(log)

    async def kill(self, machine: Machine, process_name: str) -> None:
        await child.end(machine, process_name)

    async def release(self, process_name: str) -> None:
        """QEMU takes nothing beside the VM's folders."""

    async def quit(self, monitor_socket: Path, *, timeout: float) -> bool:
        try:
            async with monitor.connected(monitor_socket, timeout=timeout) as client:
                await client.execute("quit")
        except (VMMFailed, DeadlineExceeded):
            return False
        return True

    async def press_power(self, monitor_socket: Path) -> bool:  # noqa: ARG002 - the protocol's
        return False  # the machine ``microvm`` has neither keyboard nor button

    async def run_state(self, monitor_socket: Path) -> RunState:
        async with monitor.connected(monitor_socket, timeout=_MONITOR_TIMEOUT) as client:
            match await client.status():
                case "running":
                    return RunState.RUNNING
                case "io-error":
                    return RunState.DRIVE_FAILED
        return RunState.PAUSED

    async def counters(self, machine: Machine, monitor_socket: Path, events: Path) -> Counters:  # noqa: ARG002 - the protocol's
        disks: DiskCounters | None = None
        with contextlib.suppress(VMMFailed, DeadlineExceeded):
            async with monitor.connected(monitor_socket, timeout=COUNTERS_TIMEOUT) as client:
                disks = disk_counters(await client.query("query-blockstats"))
        return await child.counters(machine, disks)

    async def pause(self, monitor_socket: Path) -> None:
        async with monitor.connected(monitor_socket, timeout=_MONITOR_TIMEOUT) as client:
            await client.execute("stop")

    async def resume(self, monitor_socket: Path) -> None:
        async with monitor.connected(monitor_socket, timeout=_MONITOR_TIMEOUT) as client:
            await client.execute("cont")

    async def forward(
        self, monitor_socket: Path, before: Sequence[Forward], after: Sequence[Forward]
    ) -> None:
        async with monitor.connected(monitor_socket, timeout=_MONITOR_TIMEOUT) as client:
            await user_ports.publish(client, before, after)

    def _check_kernel(self, kernel: Path) -> None:
        # QEMU would take nearly any file for a kernel of 1995, and let the guest hang.
        with explained(f"read the kernel {kernel}"), kernel.open("rb") as file:
            problem = self._architecture.kernel_problem(file.read(KERNEL_HEAD))
        if problem:
            raise InvalidInput(
                f"{kernel} is not a kernel that can be booted",
                cause=problem,
                resolution="give a vmlinux or bzImage of this architecture with --kernel",
            )

    def _groups(self, run_as: tuple[int, int] | None) -> tuple[int, ...]:
        """The groups that QEMU needs beside its own. Raises ``HostNotReady``."""
        if self._accelerator != "kvm" or run_as is None:
            return ()
        with explained(f"look at {_KVM}"):
            status = _KVM.stat()
        if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
            return (status.st_gid,)
        if may_read(status, run_as) and status.st_mode & stat.S_IWOTH:
            return ()
        raise HostNotReady(
            "QEMU may not use KVM",
            cause=f"{_KVM} is open to root alone, and QEMU does not run as root",
            resolution=f"sudo chgrp kvm {_KVM} && sudo chmod 660 {_KVM}",
        )


async def _until_running(monitor_socket: Path) -> None:
    async with monitor.connected(monitor_socket, timeout=LAUNCH_TIMEOUT) as client:
        if await client.status() == "prelaunch":
            await client.event("RESUME")


def _launch_failure(spec: BootSpec, cause: str) -> VMMFailed:
    log = console_log.plain(_text(spec.log))
    return VMMFailed(
        f"QEMU could not start the VM {spec.vm_id}",
        cause=exit_reason.said_by_qemu(log) or cause,
        resolution="banger doctor",
        details=f"{log}\n(from {spec.log})".strip(),
    )


def _remove_sockets(spec: BootSpec) -> None:
    for path in (spec.console_socket, spec.monitor_socket, spec.agent_socket):
        path.unlink(missing_ok=True)


def _text(path: Path, start: int = 0) -> str:
    return console_log.read_tail(path, _TAIL, start)


def _exit_of(events: Path, console: Path, log: Path) -> VMMExit:
    try:
        with events.open("rb") as file:
            head = file.read(_NOTE_LIMIT).decode(errors="replace")
    except OSError:
        head = ""
    start = exit_reason.console_start(head)
    return exit_reason.exit_reason(_text(events), _text(console, start), _text(log))
