"""A VMM without processes: it plays tiny guests, and lets a test decide how each one ends."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from banger.drivers.vmm.base import (
    BootSpec,
    Capabilities,
    Counters,
    RunState,
    VMMExit,
)
from banger.errors import Conflict, InvalidInput, VMMFailed
from banger.host.tiny_guest import Then, tiny_guest
from banger.model.lifecycle import ExitReason
from banger.model.network import Forward
from banger.model.vm import Machine

#: How the tiny guests that do not run for ever end.
ENDINGS: dict[Then, ExitReason] = {
    "poweroff": ExitReason.GUEST_SHUTDOWN,
    "reset": ExitReason.GUEST_REBOOT,
    "reboot": ExitReason.GUEST_REBOOT,
}


@dataclasses.dataclass(slots=True)
class _Process:
    spec: BootSpec
    machine: Machine
    state: RunState = RunState.RUNNING
    cpu_seconds: float = 0.0
    gone: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class FakeVMM:
    """Implements ``drivers.vmm.base.VMM`` in memory; one object is one host.

    ``launched`` holds every spec that was launched. Its events file holds the exit reason
    alone.
    """

    name = "fake"

    def __init__(self) -> None:
        self.launched: list[BootSpec] = []
        #: Raised by the next launch instead of launching.
        self.next_failure: Exception | None = None
        self._pids = itertools.count(100_000)
        self._live: dict[str, _Process] = {}

    def capabilities(self) -> Capabilities:
        return Capabilities(
            pause=True,
            user_network=True,
            qcow2=True,
            agent=True,
            accelerator="tcg",
            version="1.0",
        )

    async def launch(self, spec: BootSpec) -> Machine:
        if self.next_failure is not None:
            failure, self.next_failure = self.next_failure, None
            raise failure
        guest = spec.kernel.read_bytes()
        if guest[:4] != b"\x7fELF":
            raise InvalidInput(f"{spec.kernel} is not a kernel that can be booted")
        if len(guest) < 4096:
            raise VMMFailed(f"the VM {spec.vm_id} could not be started", cause="broken kernel")
        if any(self._holds(process, spec) for process in self._live.values()):
            raise Conflict("the VM's sockets or drives are in use")
        pid = next(self._pids)
        machine = Machine(pid, pid, "/usr/bin/fake", "fake-boot", "tcg", "1.0")
        process = _Process(spec, machine)
        self.launched.append(spec)
        self._live[spec.process_name] = process
        for socket in (spec.console_socket, spec.monitor_socket, spec.agent_socket):
            socket.touch(mode=0o600)
        spec.events.write_text("")
        spec.log.write_text("")
        self._play(process, guest)
        return machine

    def find(self, process_name: str) -> Machine | None:
        process = self._live.get(process_name)
        return process.machine if process else None

    def is_alive(self, machine: Machine, process_name: str) -> bool:
        return self.find(process_name) == machine

    def configuration(self, machine: Machine) -> dict[str, object]:
        live = [process for process in self._live.values() if process.machine == machine]
        return {"vcpus": live[0].spec.vcpus} if live else {}

    async def wait(self, machine: Machine) -> None:
        for process in self._live.values():
            if process.machine == machine:
                await process.gone.wait()
                return

    def exit_of(self, spec_events: Path, console_log: Path, log: Path) -> VMMExit:
        try:
            return VMMExit(ExitReason(spec_events.read_text()))
        except (OSError, ValueError):
            return VMMExit(ExitReason.VMM_DIED)

    def bound_logs(self, *logs: Path) -> None:
        pass

    async def kill(self, machine: Machine, process_name: str) -> None:
        if self.is_alive(machine, process_name):
            self._end(self._live[process_name], None)

    async def release(self, process_name: str) -> None:
        pass

    async def quit(self, monitor_socket: Path, *, timeout: float) -> bool:
        try:
            process = self._behind(monitor_socket)
        except VMMFailed:
            return False
        self._end(process, ExitReason.STOPPED)
        return True

    async def press_power(self, monitor_socket: Path) -> bool:
        self._behind(monitor_socket)
        return False

    async def run_state(self, monitor_socket: Path) -> RunState:
        return self._behind(monitor_socket).state

    async def counters(self, machine: Machine, monitor_socket: Path, events: Path) -> Counters:
        for process in self._live.values():
            if process.machine == machine:
                used = process.state is RunState.RUNNING
                process.cpu_seconds += 0.01 if used else 0.0
                return Counters(time.monotonic(), process.cpu_seconds, 1 << 20, 1 << 19, 0, 0)
        raise VMMFailed(f"the VMM process {machine.pid} is gone")

    async def pause(self, monitor_socket: Path) -> None:
        self._behind(monitor_socket).state = RunState.PAUSED

    async def resume(self, monitor_socket: Path) -> None:
        self._behind(monitor_socket).state = RunState.RUNNING

    async def forward(
        self, monitor_socket: Path, before: Sequence[Forward], after: Sequence[Forward]
    ) -> None:
        self._behind(monitor_socket)

    def end(self, process_name: str, reason: ExitReason | None) -> None:
        """Let a VMM end by itself; ``None``: as if killed from outside, without a word."""
        self._end(self._live[process_name], reason)

    def _play(self, process: _Process, guest: bytes) -> None:
        for then in get_args(Then):
            message = guest[len(tiny_guest(b"", then)) - 1 : -1]
            if b"\0" not in message and tiny_guest(message, then) == guest:
                with process.spec.console_log.open("ab") as console:
                    console.write(message)
                reason = ENDINGS.get(then)
                if reason is ExitReason.GUEST_REBOOT and b"Kernel panic" in message:
                    reason = ExitReason.GUEST_PANIC
                if reason is not None:
                    asyncio.get_running_loop().call_soon(self._end, process, reason)
                return
        process.spec.console_log.touch()

    def _behind(self, monitor_socket: Path) -> _Process:
        for process in self._live.values():
            if process.spec.monitor_socket == monitor_socket:
                return process
        raise VMMFailed("the VMM's monitor is gone")

    @staticmethod
    def _holds(process: _Process, spec: BootSpec) -> bool:
        theirs = {drive.path for drive in process.spec.drives if not drive.read_only}
        same_drive = theirs & {drive.path for drive in spec.drives}
        return process.spec.monitor_socket == spec.monitor_socket or bool(same_drive)

    def _end(self, process: _Process, reason: ExitReason | None) -> None:
        if self._live.pop(process.spec.process_name, None) is not None:
            process.spec.events.write_text(reason.value if reason else "")
            process.gone.set()
