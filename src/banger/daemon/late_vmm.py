"""A VMM driver whose abilities are found out when a VM is launched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from banger.drivers.vmm.base import VMM, BootSpec, Capabilities, Counters, RunState, VMMExit
from banger.model.network import Forward
from banger.model.vm import Machine


class LateVMM:
    """Finding, watching and ending VMMs works at once; launching asks ``probe`` first.

    ``unprobed`` is a driver without knowledge of the host. ``probe`` gives the real one and
    may take seconds (does KVM run a guest?), and the daemon must answer before that.
    """

    def __init__(self, unprobed: VMM, probe: Callable[[], Awaitable[VMM]]) -> None:
        self.name = unprobed.name
        self._vmm = unprobed
        self._probe = probe

    async def settled(self) -> VMM:
        """The real driver. Raises what the probe raises."""
        self._vmm = await self._probe()
        return self._vmm

    def capabilities(self) -> Capabilities:
        return self._vmm.capabilities()

    async def launch(self, spec: BootSpec) -> Machine:
        return await (await self.settled()).launch(spec)

    def find(self, process_name: str) -> Machine | None:
        return self._vmm.find(process_name)

    def is_alive(self, machine: Machine, process_name: str) -> bool:
        return self._vmm.is_alive(machine, process_name)

    def configuration(self, machine: Machine) -> dict[str, object]:
        return self._vmm.configuration(machine)

    async def wait(self, machine: Machine) -> None:
        await self._vmm.wait(machine)

    def exit_of(self, spec_events: Path, console_log: Path, log: Path) -> VMMExit:
        return self._vmm.exit_of(spec_events, console_log, log)

    def bound_logs(self, *logs: Path) -> None:
        self._vmm.bound_logs(*logs)

    async def kill(self, machine: Machine, process_name: str) -> None:
        await self._vmm.kill(machine, process_name)

    async def release(self, process_name: str) -> None:
        await self._vmm.release(process_name)

    async def quit(self, monitor_socket: Path, *, timeout: float) -> bool:
        return await self._vmm.quit(monitor_socket, timeout=timeout)

    async def press_power(self, monitor_socket: Path) -> bool:
        return await self._vmm.press_power(monitor_socket)

    async def run_state(self, monitor_socket: Path) -> RunState:
        return await self._vmm.run_state(monitor_socket)

    async def counters(self, machine: Machine, monitor_socket: Path, events: Path) -> Counters:
        return await self._vmm.counters(machine, monitor_socket, events)

    async def pause(self, monitor_socket: Path) -> None:
        await self._vmm.pause(monitor_socket)

    async def resume(self, monitor_socket: Path) -> None:
        await self._vmm.resume(monitor_socket)

    async def forward(
        self, monitor_socket: Path, before: Sequence[Forward], after: Sequence[Forward]
    ) -> None:
        await self._vmm.forward(monitor_socket, before, after)
