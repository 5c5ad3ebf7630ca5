"""The VMM protocol: what a boot needs, what a driver can do, and how a VMM ends."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from banger.model.lifecycle import ExitReason
from banger.model.network import Forward
from banger.model.storage import Drive
from banger.model.vm import Machine

#: The name of the virtio-serial port behind ``agent_socket``, as the guest sees it in
#: /sys/class/virtio-ports/*/name.
AGENT_PORT = "banger.0"
#: Seconds that a VMM gets to tell its counters: it takes milliseconds, and one that hangs must
#: not keep the figures of the others back.
COUNTERS_TIMEOUT = 1.0


class Capabilities(Struct, frozen=True):
    """What a VMM driver can do here. Callers ask these, never the driver's name."""

    pause: bool
    user_network: bool
    qcow2: bool
    agent: bool
    #: The accelerator in use: ``kvm`` or ``tcg``.
    accelerator: str
    version: str
    #: How the agent is reached: ``agent_socket`` leads to the guest's vsock, by the handshake
    #: of Firecracker (``CONNECT port``). Otherwise it is the virtio-serial port ``AGENT_PORT``.
    vsock: bool = False
    #: Whether it can run in a jail, with the root side's help.
    jail: bool = False
    #: Whether it boots a kernel as its package has it (bzImage), and not only a plain one.
    compressed_kernel: bool = True


class NetworkDevice(Struct, frozen=True):
    """The guest's one interface as the VMM makes it.

    ``tap`` names an existing TAP that the caller may open; otherwise the VMM's user-mode
    network is used and ``ssh_port`` on the host's loopback leads to the guest's port 22.
    ``forwards`` are the ports of the host that the VMM's own network leads to the guest.
    """

    mac: str
    tap: str = ""
    ssh_port: int = 0
    forwards: tuple[Forward, ...] = ()


class BootSpec(Struct, frozen=True):
    """Everything that one boot needs. All files exist; all sockets are made by the driver.

    ``process_name`` is the mark (``naming.process_name``) that must stand in the VMM's argv.
    ``initrd`` is one file: the image's initrd with the identity archive behind it.
    ``arguments`` are the kernel arguments of the boot profile; the driver adds its own
    (console, clock) before them. ``run_as`` is ``(uid, gid)`` to drop to, ``None`` to stay.
    With ``jail`` it runs in a jail instead, as a user of its own.
    """

    vm_id: str
    process_name: str
    vcpus: int
    memory_mib: int
    kernel: Path
    initrd: Path | None
    arguments: tuple[str, ...]
    drives: tuple[Drive, ...]
    network: NetworkDevice
    console_log: Path
    console_socket: Path
    monitor_socket: Path
    agent_socket: Path
    events: Path
    log: Path
    run_as: tuple[int, int] | None = None
    jail: bool = False


class VMMExit(Struct, frozen=True):
    """Why a VMM is gone. ``detail`` may hold the last lines of its log or of the console."""

    reason: ExitReason
    detail: str = ""


class RunState(StrEnum):
    """What the vCPUs of a live VMM do."""

    RUNNING = "running"
    PAUSED = "paused"
    #: A drive could not be written, as a rule because the host's disk is full. The write
    #: waits: ``resume`` tries it again once there is room.
    DRIVE_FAILED = "drive-failed"


class Counters(Struct, frozen=True):
    """What a VMM has used since its start, as it was at one moment.

    ``read_at`` is that moment in seconds of the host's monotonic clock, so that two looks make
    a rate. Bytes and seconds only grow; memory is what it is now. ``None``: nobody can tell.
    """

    read_at: float
    #: Of one core, the guest's and the VMM's own work together.
    cpu_seconds: float
    resident_bytes: int
    #: Pages that several VMMs share count in parts here (PSS of proc(5)).
    proportional_bytes: int | None
    #: Of all drives, as the guest asked for them.
    disk_read_bytes: int | None
    disk_written_bytes: int | None


class VMM(Protocol):
    """Starts, watches and ends VMM processes. They outlive the daemon.

    Methods that take a ``Machine`` accept one that is already gone unless said otherwise.
    """

    name: str

    def capabilities(self) -> Capabilities:
        """What this driver can do on this host."""
        ...

    async def launch(self, spec: BootSpec) -> Machine:
        """Start the VMM and let the guest run.

        A guest that ended by itself in the meantime was launched: ``wait`` then returns at
        once. Raises ``VMMFailed`` with the VMM's own output, ``InvalidInput`` for a file
        that is no kernel, ``Conflict`` if the VM's sockets or drives are in use,
        ``HostNotReady`` or ``PermissionRefused`` for what cannot be opened. After an error
        no process and no socket is left.
        """
        ...

    def find(self, process_name: str) -> Machine | None:
        """The live VMM process of this user that carries the mark, if there is one."""
        ...

    def is_alive(self, machine: Machine, process_name: str) -> bool:
        """Whether exactly this process lives: pid, start time, executable and mark agree."""
        ...

    def configuration(self, machine: Machine) -> dict[str, object]:
        """The raw configuration of the live VMM, in its own words and ready for JSON.

        What it was started with; empty if it is gone or nobody can tell. Never raises.
        """
        ...

    async def wait(self, machine: Machine) -> None:
        """Return when the process is gone (at once if it is)."""
        ...

    def exit_of(self, spec_events: Path, console_log: Path, log: Path) -> VMMExit:
        """Read from the files of the last boot why it ended. Never raises for odd content."""
        ...

    def bound_logs(self, *logs: Path) -> None:
        """Cut logs that grew too long; to be called about once a minute for a running VM.

        The VMM may write on meanwhile. Absent logs and failures are passed over.
        """
        ...

    async def kill(self, machine: Machine, process_name: str) -> None:
        """End the process at once (SIGKILL by pidfd); returns when it is gone."""
        ...

    async def release(self, process_name: str) -> None:
        """Give back what a launch took on the host beside the VM's folders; nothing is fine.

        To be called when the process is gone; what still lives of it is ended.
        """
        ...

    async def quit(self, monitor_socket: Path, *, timeout: float) -> bool:
        """Ask the VMM to end itself without the guest's help; False if it did not answer."""
        ...

    async def press_power(self, monitor_socket: Path) -> bool:
        """Tell the guest to end in order by a key or button of its machine.

        Returns at once; False if the machine has none. Raises ``VMMFailed``. Whether the
        guest obeys is its own affair.
        """
        ...

    async def run_state(self, monitor_socket: Path) -> RunState:
        """What the VMM is doing. Raises ``VMMFailed``, ``DeadlineExceeded`` if it hangs."""
        ...

    async def counters(self, machine: Machine, monitor_socket: Path, events: Path) -> Counters:
        """What the VMM has used since its start. Raises ``VMMFailed`` if it is gone.

        A monitor that does not answer within ``COUNTERS_TIMEOUT`` only leaves figures out.
        """
        ...

    async def pause(self, monitor_socket: Path) -> None:
        """Stop the vCPUs. Raises ``VMMFailed``."""
        ...

    async def resume(self, monitor_socket: Path) -> None:
        """Let the vCPUs run. Raises ``VMMFailed``."""
        ...

    async def forward(
        self, monitor_socket: Path, before: Sequence[Forward], after: Sequence[Forward]
    ) -> None:
        """Let the VMM's own network publish the ports ``after`` in place of ``before``.

        Raises ``Conflict`` for a port that is taken, ``VMMFailed`` where there is no such
        network.
        """
        ...
