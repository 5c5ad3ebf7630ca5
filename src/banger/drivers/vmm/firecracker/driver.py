"""The Firecracker driver: one process a VM, configured through its API, unprivileged."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Sequence
from pathlib import Path

from banger.drivers.vmm import child, console_log
from banger.drivers.vmm.base import BootSpec, Capabilities, Counters, RunState, VMMExit
from banger.drivers.vmm.firecracker import (
    bodies,
    boot_record,
    client,
    exit_reason,
    halt_watch,
    jailed,
    readings,
    rights,
    usage,
    workspace,
)
from banger.drivers.vmm.firecracker.boot_record import BootRecord
from banger.drivers.vmm.firecracker.version import Version
from banger.errors import BangerError, DeadlineExceeded, VMMFailed
from banger.host import process
from banger.host.files import explained
from banger.host.privilege import Privilege
from banger.host.spawn import spawn_detached
from banger.model.network import Forward
from banger.model.vm import Machine

#: How long Firecracker may take from its start to a running guest, in seconds: about 0.02 on
#: an idle machine, so that this means "never".
LAUNCH_TIMEOUT = 60.0
#: How long other calls may take, in seconds; they take milliseconds.
_CALL_TIMEOUT = 5.0
#: Launches under way at once: more would only wait for one another.
_LAUNCHES = 16
#: The pauses between two looks whether the API answers, in seconds, and by what they grow: it
#: takes about 2 ms.
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.001, 0.05, 1.2
#: Firecracker runs in it, with nothing of ours.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/"}


class FirecrackerVMM:
    """Implements ``drivers.vmm.base.VMM`` with an executable that was verified before.

    ``jailer`` is the program beside it, None where there is none; ``privilege`` makes jails.
    """

    name = "firecracker"

    def __init__(
        self,
        *,
        executable: Path,
        version: Version,
        jailer: Path | None = None,
        privilege: Privilege | None = None,
    ) -> None:
        self._executable = executable
        self._version = version
        self._jailer = jailer
        self._privilege = privilege or Privilege()
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
            jail=True,
            compressed_kernel=self._version.boots_bzimage,
        )

    async def launch(self, spec: BootSpec) -> Machine:
        readings.check_kernel(spec.kernel, self._version)
        requests = bodies.requests(spec, self._version)
        if spec.jail:
            requests = jailed.requests(requests)
        async with self._launches:
            workspace.refuse_running(spec)
            return await self._launch(spec, requests)

    async def _launch(self, spec: BootSpec, requests: tuple[bodies.Request, ...]) -> Machine:
        # Cut at this moment, so that what is cut later in this boot belongs to this boot.
        with explained(f"shorten the log {spec.console_log}"):
            console_log.bound(spec.console_log, limit=console_log.LIMIT // 2)
        start = console_log.size_of(spec.console_log)
        boot_record.remove(spec.monitor_socket)
        note = exit_reason.note(console_bytes=start)
        start_it = self._jailed if spec.jail else self._spawned
        machine = await start_it(spec, note)
        try:
            config = bodies.configuration(requests)
            record = BootRecord.of_launch(machine, spec, console_bytes=start, config=config)
            boot_record.write(spec.monitor_socket, record)
            async with asyncio.timeout(LAUNCH_TIMEOUT):
                await _configure(spec, machine, requests)
                workspace.publish(spec)
                await client.call(spec.monitor_socket, bodies.START, timeout=LAUNCH_TIMEOUT)
        except BaseException as error:
            if isinstance(error, client.ApiGone) and exit_reason.has_run(
                readings.text_of(spec.log)
            ):
                return machine  # a short life: it ended before it could answer
            await asyncio.shield(self.kill(machine, spec.process_name))
            await asyncio.shield(self.release(spec.process_name))
            late = f"it took more than {LAUNCH_TIMEOUT:g} s"
            cause = error.cause if isinstance(error, BangerError) else late
            failed = readings.start_failure(spec, cause)
            self._clean(spec)
            if isinstance(error, (VMMFailed, DeadlineExceeded, TimeoutError)):
                raise failed from error
            raise
        return machine

    async def _spawned(self, spec: BootSpec, note: bytes) -> Machine:
        groups = rights.kvm_groups(spec.run_as)
        if spec.network.tap:
            rights.give_tap(spec.network.tap, spec.run_as)
        with workspace.made(spec, self._executable, note) as made:
            start = functools.partial(
                spawn_detached,
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
            pid = await child.spawned(start)
        machine = child.identify(pid, "kvm", str(self._version))
        if machine is None:
            failed = readings.start_failure(spec, "")
            self._clean(spec)
            raise failed
        return machine

    async def _jailed(self, spec: BootSpec, note: bytes) -> Machine:
        try:
            found = jailed.programs(self._executable, self._jailer)
            await jailed.launch(spec, self._privilege, found, note)
            return jailed.found_again(spec, str(self._version))
        except BaseException:
            await asyncio.shield(self.release(spec.process_name))
            self._clean(spec)
            raise

    async def release(self, process_name: str) -> None:
        await jailed.end(self._privilege, process_name)

    def find(self, process_name: str) -> Machine | None:
        pid = child.find_marked(process_name, self._executable)
        if pid is None:
            return jailed.find(process_name, str(self._version))
        return child.identify(pid, "kvm", str(self._version))

    def is_alive(self, machine: Machine, process_name: str) -> bool:
        if jailed.is_jailed(machine):
            return jailed.is_same(machine, process_name)
        return child.is_same(machine, process_name)

    def configuration(self, machine: Machine) -> dict[str, object]:
        record = _record_of(machine)
        return record.config if record is not None else {}

    async def wait(self, machine: Machine) -> None:
        record = _record_of(machine)
        if record is None:
            await child.wait_gone(machine)
            return
        watch = asyncio.create_task(halt_watch.end_when_halted(record, self._end_recorded))
        try:
            await child.wait_gone(machine)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    def exit_of(self, spec_events: Path, console_log: Path, log: Path) -> VMMExit:
        return readings.exit_of(spec_events, console_log, log)

    def bound_logs(self, *logs: Path) -> None:
        usage.bound(logs)

    async def kill(self, machine: Machine, process_name: str) -> None:
        if jailed.is_jailed(machine):
            if jailed.is_same(machine, process_name):
                await jailed.end(self._privilege, process_name)
            await child.wait_gone(machine)
            return
        await child.end(machine, process_name)

    async def _end_recorded(self, record: BootRecord) -> None:
        if jailed.find(record.process_name, "") is not None:
            # The first process of a pid namespace obeys no signal but SIGKILL.
            await jailed.end(self._privilege, record.process_name)
        else:
            process.kill_exact(record.pid, record.start_ticks, signal.SIGTERM)

    async def quit(self, monitor_socket: Path, *, timeout: float) -> bool:
        # The API has no such call, and the signal is all that another process would send.
        record = boot_record.read(monitor_socket.parent)
        if record is None or not halt_watch.note_end(record, "stopped"):
            return False
        await self._end_recorded(record)
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

    async def counters(self, machine: Machine, monitor_socket: Path, events: Path) -> Counters:
        return await usage.counters(machine, monitor_socket, events)

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


async def _configure(
    spec: BootSpec, machine: Machine, requests: tuple[bodies.Request, ...]
) -> None:
    """Send all requests as soon as somebody listens. Raises as ``client.calls``."""
    pause = _FIRST_PAUSE
    while True:
        # Looked at first: what it left before its end can still be asked.
        lives = process.start_ticks(machine.pid) == machine.start_ticks
        if workspace.publish(spec) or not lives:
            try:
                await client.calls(spec.monitor_socket, requests, timeout=LAUNCH_TIMEOUT)
            except client.ApiGone as gone:
                # A socket that is bound takes a moment until it listens.
                if not (lives and gone.unsent):
                    raise
            else:
                return
        await asyncio.sleep(pause)
        pause = min(_GROWTH * pause, _LONGEST_PAUSE)


def _record_of(machine: Machine) -> BootRecord | None:
    if jailed.is_jailed(machine):
        folder = jailed.runtime_of(machine)
        record = boot_record.read(folder) if folder is not None else None
    else:
        record = boot_record.of_process(machine.pid)
    same = record is not None and (record.pid, record.start_ticks) == (
        machine.pid,
        machine.start_ticks,
    )
    return record if same else None
