"""The Firecracker driver: one process a VM, configured through its API, unprivileged."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path

from banger.drivers.vmm import child, console_log
from banger.drivers.vmm.architecture import KERNEL_HEAD, of_host
from banger.drivers.vmm.base import BootSpec, Capabilities, RunState, VMMExit
from banger.drivers.vmm.firecracker import (
    bodies,
    boot_record,
    client,
    exit_reason,
    halt_watch,
    rights,
    workspace,
)
from banger.drivers.vmm.firecracker.boot_record import BootRecord
from banger.drivers.vmm.firecracker.version import Version
from banger.errors import BangerError, DeadlineExceeded, InvalidInput, VMMFailed
from banger.host import process
from banger.host.files import explained
from banger.host.spawn import spawn_detached
from banger.model.network import Forward
from banger.model.vm import Machine

#: How long Firecracker may take from its start to a running guest, in seconds: about 0.02 on
#: an idle machine, so that this means "never".
LAUNCH_TIMEOUT = 10.0
#: How long other calls may take, in seconds; they take milliseconds.
_CALL_TIMEOUT = 5.0
#: Launches under way at once: more would only wait for one another.
_LAUNCHES = 16
#: The pauses between two looks whether the API answers, in seconds, and by what they grow: it
#: takes about 2 ms.
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.001, 0.05, 1.2
_TAIL, _HEAD = 64 * 1024, 4096
#: Firecracker runs in it, with nothing of ours.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/"}


class FirecrackerVMM:
    """Implements ``drivers.vmm.base.VMM`` with an executable that was verified before."""

    name = "firecracker"

    def __init__(self, *, executable: Path, version: Version) -> None:
        self._executable = executable
        self._version = version
        self._launches = asyncio.Semaphore(_LAUNCHES)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            pause=True,
            user_network=False,
            qcow2=False,
            agent=True,
            accelerator="kvm",
            version=str(self._version),
            vsock=True,
        )

    async def launch(self, spec: BootSpec) -> Machine:
        self._check_kernel(spec.kernel)
        requests = bodies.requests(spec, self._version)
        groups = rights.kvm_groups(spec.run_as)
        async with self._launches:
            workspace.refuse_running(spec)
            if spec.network.tap:
                rights.give_tap(spec.network.tap, spec.run_as)
            return await self._launch(spec, requests, groups)

    async def _launch(
        self, spec: BootSpec, requests: tuple[bodies.Request, ...], groups: tuple[int, ...]
    ) -> Machine:
        # Cut at this moment, so that what is cut later in this boot belongs to this boot.
        with explained(f"shorten the log {spec.console_log}"):
            console_log.bound(spec.console_log, limit=console_log.LIMIT // 2)
        start = console_log.size_of(spec.console_log)
        boot_record.remove(spec.monitor_socket)
        note = exit_reason.note(console_bytes=start)
        with workspace.made(spec, self._executable, note) as made:
            pid = spawn_detached(
                (made.program, *_options(spec)),
                env=_ENVIRONMENT,
                stdin=made.stdin,
                stdout=made.stdout,
                stderr=made.stderr,
                pass_fds=made.inherited,
                cwd=made.folder,
                run_as=spec.run_as,
                extra_groups=groups,
            )
        machine = child.identify(pid, "kvm", str(self._version))
        if machine is None:
            failed = self._failed(spec, "")
            self._clean(spec)
            raise failed
        try:
            boot_record.write(
                spec.monitor_socket,
                BootRecord(
                    pid=machine.pid,
                    start_ticks=machine.start_ticks,
                    process_name=spec.process_name,
                    events=str(spec.events),
                    console_log=str(spec.console_log),
                    console_bytes=start,
                ),
            )
            async with asyncio.timeout(LAUNCH_TIMEOUT):
                await _until_answering(spec, machine)
                for request in requests:
                    await client.call(spec.monitor_socket, request, timeout=LAUNCH_TIMEOUT)
                workspace.publish(spec)
                await client.call(spec.monitor_socket, bodies.START, timeout=LAUNCH_TIMEOUT)
        except BaseException as error:
            if isinstance(error, client.ApiGone) and exit_reason.has_run(_text(spec.log)):
                return machine  # a short life: it ended before it could answer
            await asyncio.shield(child.end(machine, spec.process_name))
            late = f"it took more than {LAUNCH_TIMEOUT:g} s"
            cause = error.cause if isinstance(error, BangerError) else late
            failed = self._failed(spec, cause)
            self._clean(spec)
            if isinstance(error, (VMMFailed, DeadlineExceeded, TimeoutError)):
                raise failed from error
            raise
        return machine

    def find(self, process_name: str) -> Machine | None:
        pid = child.find_marked(process_name, self._executable)
        return None if pid is None else child.identify(pid, "kvm", str(self._version))

    def is_alive(self, machine: Machine, process_name: str) -> bool:
        return child.is_same(machine, process_name)

    async def wait(self, machine: Machine) -> None:
        watch = asyncio.create_task(halt_watch.end_when_halted(machine))
        try:
            await child.wait_gone(machine)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    def exit_of(self, spec_events: Path, console_log: Path, log: Path) -> VMMExit:
        return _exit_of(spec_events, console_log, log)

    def bound_logs(self, *logs: Path) -> None:
        for log in logs:
            for path in (log, workspace.metrics_of(log)):
                with contextlib.suppress(OSError):
                    console_log.bound(path)

    async def kill(self, machine: Machine, process_name: str) -> None:
        await child.end(machine, process_name)

    async def quit(self, monitor_socket: Path, *, timeout: float) -> bool:
        # The API has no such call, and the signal is all that another process would send.
        record = boot_record.read(monitor_socket.parent)
        if record is None or not halt_watch.note_end(record, "stopped"):
            return False
        process.kill_exact(record.pid, record.start_ticks, signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                await process.wait_gone(record.pid, record.start_ticks)
        except TimeoutError:
            return False
        return True

    async def press_power(self, monitor_socket: Path) -> bool:
        # The machine's only key: Linux restarts in order, and the restart ends the VMM.
        await client.call(monitor_socket, bodies.CTRL_ALT_DEL, timeout=_CALL_TIMEOUT)
        return True

    async def run_state(self, monitor_socket: Path) -> RunState:
        info = await client.call(monitor_socket, bodies.GET_INFO, timeout=_CALL_TIMEOUT)
        return RunState.RUNNING if info.get("state") == "Running" else RunState.PAUSED

    async def pause(self, monitor_socket: Path) -> None:
        await client.call(monitor_socket, bodies.PAUSE, timeout=_CALL_TIMEOUT)

    async def resume(self, monitor_socket: Path) -> None:
        await client.call(monitor_socket, bodies.RESUME, timeout=_CALL_TIMEOUT)

    async def forward(
        self,
        monitor_socket: Path,  # noqa: ARG002 - the protocol's
        before: Sequence[Forward],  # noqa: ARG002 - the protocol's
        after: Sequence[Forward],  # noqa: ARG002 - the protocol's
    ) -> None:
        raise VMMFailed(
            "Firecracker publishes no ports",
            cause="it has no network of its own",
            resolution="banger create --network tap",
        )

    def _check_kernel(self, kernel: Path) -> None:
        with explained(f"read the kernel {kernel}"), kernel.open("rb") as file:
            head = file.read(KERNEL_HEAD)
        problem = of_host().kernel_problem(head)
        if not problem and head[:4] != b"\x7fELF" and not self._version.boots_bzimage:
            problem = f"it is compressed, and Firecracker {self._version} takes plain ones only"
        if problem:
            raise InvalidInput(
                f"{kernel} is not a kernel that can be booted",
                cause=problem,
                resolution="give a vmlinux of this architecture with --kernel",
            )

    def _failed(self, spec: BootSpec, cause: str) -> VMMFailed:
        """The error of a failed start; to be made while the folder is still there."""
        log = _text(spec.log)
        stderr = _text(workspace.folder_of(spec.monitor_socket) / workspace.STDERR)
        events = console_log.read_tail(spec.events, _HEAD)
        console = _text(spec.console_log, exit_reason.console_start(events))
        parts = [
            ("Firecracker's log", exit_reason.tail(log), spec.log),
            ("its standard error", console_log.plain(stderr).strip(), None),
            ("the console", console_log.plain(console[-_HEAD:]).strip(), spec.console_log),
        ]
        details = [
            f"{title}:\n{text}" + (f"\n(from {path})" if path else "")
            for title, text, path in parts
            if text
        ]
        return VMMFailed(
            f"Firecracker could not start the VM {spec.vm_id}",
            cause=cause or exit_reason.said(log) or exit_reason.said(stderr) or "it ended at once",
            resolution="banger doctor",
            details="\n".join(details),
        )

    def _clean(self, spec: BootSpec) -> None:
        boot_record.remove(spec.monitor_socket)
        workspace.remove(spec)


def _options(spec: BootSpec) -> tuple[str, ...]:
    """Firecracker's own arguments; ``--id`` is the mark."""
    return (
        *("--id", spec.process_name),
        *("--api-sock", workspace.API_SOCKET),
        *("--log-path", workspace.LOG, "--level", "Info"),
    )


async def _until_answering(spec: BootSpec, machine: Machine) -> None:
    pause = _FIRST_PAUSE
    while True:
        workspace.publish(spec)
        try:
            await client.call(spec.monitor_socket, bodies.GET_VERSION, timeout=LAUNCH_TIMEOUT)
        except client.ApiGone:
            if process.start_ticks(machine.pid) != machine.start_ticks:
                raise
        else:
            return
        await asyncio.sleep(pause)
        pause = min(_GROWTH * pause, _LONGEST_PAUSE)


def _text(path: Path, start: int = 0) -> str:
    return console_log.read_tail(path, _TAIL, start)


def _exit_of(events: Path, console: Path, log: Path) -> VMMExit:
    told = console_log.read_tail(events, _TAIL)
    start = exit_reason.console_start(told)
    return exit_reason.exit_reason(told, _text(console, start), _text(log))
