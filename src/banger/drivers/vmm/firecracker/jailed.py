"""Firecracker in a jail: as a user of its own, seeing nothing of the host but its own files.

The root side makes the jail and starts Firecracker in it (``privileged.jail``). What it needs
is named to the root side, which opens it with our rights. The sockets stay in the jail's folder
and belong to us; links stand where they are wanted.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from banger import naming
from banger.drivers.vmm.base import BootSpec
from banger.drivers.vmm.firecracker import bodies, workspace
from banger.errors import HostNotReady, VMMFailed
from banger.host import process
from banger.host.files import explained
from banger.host.privilege import Privilege
from banger.model.vm import Machine
from banger.privileged import jail_calls
from banger.privileged.jail_calls import JailEnd, JailStart

#: The name of Firecracker in a jail's folder, for ``Machine.executable``.
_PROGRAM = "firecracker"


class Programs(Struct, frozen=True):
    """What the jail's copies are made of."""

    firecracker: Path
    jailer: Path


def programs(firecracker: Path, jailer: Path | None) -> Programs:
    """Raises ``HostNotReady`` where there is no jailer."""
    if jailer is None or not jailer.is_file():
        raise HostNotReady(
            "Firecracker cannot run in a jail",
            cause=f"there is no jailer beside {firecracker}",
            resolution="banger setup --firecracker fetch, or create the VM without --jail",
        )
    return Programs(firecracker, jailer)


def start_call(spec: BootSpec, uid: int, found: Programs) -> JailStart:
    """What the root side is asked for. Links in the folders above are followed here: the root
    side follows none."""

    def real(path: Path) -> str:
        return os.path.realpath(path)

    return JailStart(
        name=naming.tap_name(spec.vm_id),
        alias=naming.tap_alias(uid, spec.vm_id),
        vcpus=spec.vcpus,
        memory_mib=spec.memory_mib,
        tap=bool(spec.network.tap),
        firecracker=real(found.firecracker),
        jailer=real(found.jailer),
        kernel=real(spec.kernel),
        initrd=real(spec.initrd) if spec.initrd is not None else "",
        drives=tuple(
            f"{'ro' if drive.read_only else 'rw'}:{drive.id}:{real(drive.path)}"
            for drive in spec.drives
        ),
        log=real(spec.log),
        metrics=real(workspace.metrics_of(spec.events)),
        console_input=real(spec.console_socket),
        console_log=real(spec.console_log),
        errors=real(workspace.folder_of(spec.monitor_socket) / workspace.STDERR),
    )


def requests(made: tuple[bodies.Request, ...]) -> tuple[bodies.Request, ...]:
    """Those that remain: the root side makes the vsock, before it closes the jail's folder."""
    return tuple(request for request in made if request.path != "/vsock")


async def launch(spec: BootSpec, privilege: Privilege, found: Programs, note: bytes) -> None:
    """Start Firecracker in its jail; its API answers at ``spec.monitor_socket`` then.

    Raises what the root side's refusals become; no jail is left then.
    """
    workspace.make_streams(spec, note)
    await privilege.call([start_call(spec, os.getuid(), found)])
    shared = jail_calls.folder_of(spec.process_name) / jail_calls.SHARED
    links = (
        (spec.monitor_socket, jail_calls.API_SOCKET),
        (spec.agent_socket, jail_calls.VSOCK),
    )
    for link, name in links:
        with explained(f"make the link {link}"):
            link.symlink_to(shared / name)


async def end(privilege: Privilege, mark: str) -> None:
    """End what runs in the jail and remove it; nothing happens where there is none."""
    if not os.path.lexists(jail_calls.folder_of(mark)):
        return
    vm_id = mark.rpartition("-")[2]
    call = JailEnd(naming.tap_name(vm_id), naming.tap_alias(os.getuid(), vm_id))
    await privilege.call([call])


def find(mark: str, version: str) -> Machine | None:
    """The live Firecracker in the jail of that mark. Nobody but root makes processes of the
    jail's user, so the user proves more than the program would, which we may not even see."""
    record = jail_calls.read_record(mark)
    for pid in process.find_by_argument(mark, {record.uid}) if record is not None else ():
        ticks = process.start_ticks(pid)
        if ticks is not None:
            return Machine(
                pid=pid,
                start_ticks=ticks,
                executable=str(jail_calls.folder_of(mark) / _PROGRAM),
                boot_id=process.boot_id(),
                accelerator="kvm",
                version=version,
            )
    return None


def found_again(spec: BootSpec, version: str) -> Machine:
    """The one that was just launched. Raises ``VMMFailed``."""
    machine = find(spec.process_name, version)
    if machine is None:
        raise VMMFailed(
            f"Firecracker could not start the VM {spec.vm_id}",
            cause="it ended at once in its jail",
            resolution="banger doctor",
        )
    return machine


def is_jailed(machine: Machine) -> bool:
    """Whether the process was started in a jail."""
    return Path(machine.executable).parent.parent == jail_calls.JAILS


def is_same(machine: Machine, mark: str) -> bool:
    """Whether the process lives: boot, pid, start time, the jail's user and mark all agree."""
    record = jail_calls.read_record(mark)
    return (
        record is not None
        and machine.boot_id == process.boot_id()
        and process.start_ticks(machine.pid) == machine.start_ticks
        and process.real_uid(machine.pid) == record.uid
        and process.carries_mark(process.argv_of(machine.pid), mark)
    )


def mark_of(machine: Machine) -> str:
    """The mark of a process that was started in a jail."""
    return Path(machine.executable).parent.name


def runtime_of(machine: Machine) -> Path | None:
    """The folder with the sockets of a jailed process, by the jail's record."""
    record = jail_calls.read_record(mark_of(machine))
    return Path(record.runtime) if record is not None else None
