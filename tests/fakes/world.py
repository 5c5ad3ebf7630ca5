"""A host in a folder: fake drivers whose effects are files, which outlive a killed daemon."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from banger.drivers.dns.base import NameStatus, Publication
from banger.drivers.guest.base import (
    Chunk,
    ForgetTarget,
    GuestCommand,
    Identity,
    LayerTarget,
    SSHHost,
)
from banger.drivers.image.base import (
    BuildFolders,
    BuiltImage,
    ImportedImage,
    ImportSpec,
    ProgressCallback,
)
from banger.drivers.network.base import Attachment, Traffic
from banger.drivers.storage.base import RootfsSpec
from banger.drivers.vmm.base import BootSpec, Capabilities, Counters, RunState, VMMExit
from banger.errors import DeadlineExceeded, InvalidInput, VMMFailed
from banger.host import files
from banger.model.image import Customization, ImageSpec
from banger.model.lifecycle import ExitReason
from banger.model.network import CLOSED, Forward, Lease, Reach
from banger.model.operation import Presence
from banger.model.storage import DiskUsage, Drive
from banger.model.vm import Machine
from banger.naming import mac_address, tap_name

BOOT_ID = "boot-1"
_TICKS = itertools.count(1)


class World:
    """The fake host. Everything in it is a file below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("processes", "taps", "rules", "active", "names", "layers"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def inventory(self) -> set[str]:
        """Every object of the host, as relative paths."""
        return {str(path.relative_to(self.root)) for path in self.root.glob("*/*")}


class FakeVMM:
    """A VMM whose processes are files named after their mark.

    ``abilities`` is what it can do.
    """

    name = "fake"

    def __init__(self, world: World) -> None:
        self._folder = world.root / "processes"
        self.abilities = Capabilities(True, True, True, True, "fake", "1")
        #: Whether it has a power key, which ends its guest.
        self.has_key = False
        self.pressed: list[Path] = []

    def capabilities(self) -> Capabilities:
        return self.abilities

    async def launch(self, spec: BootSpec) -> Machine:
        assert spec.initrd is None or spec.initrd.is_file()
        assert spec.drives[0].path.is_file()
        machine = Machine(
            pid=2**30 + len(list(self._folder.iterdir())),
            # As with real processes, no two boots have the same one.
            start_ticks=next(_TICKS),
            executable="/fake",
            boot_id=BOOT_ID,
            accelerator="fake",
            version="1",
        )
        path = self._folder / spec.process_name
        assert not path.exists(), "two VMMs for one VM"
        path.write_text(json.dumps(asdict(machine)))
        spec.console_log.write_text("fake guest up\n")
        return machine

    def find(self, process_name: str) -> Machine | None:
        path = self._folder / process_name
        return Machine(**json.loads(path.read_text())) if path.exists() else None

    def is_alive(self, machine: Machine, process_name: str) -> bool:
        return self.find(process_name) == machine

    def configuration(self, machine: Machine) -> dict[str, object]:
        return {"pid": machine.pid}

    async def wait(self, machine: Machine) -> None:
        while any(  # noqa: ASYNC110 - the file system of the fake host sends no events
            json.loads(path.read_text()) == asdict(machine) for path in self._folder.iterdir()
        ):
            await asyncio.sleep(0.005)

    def exit_of(self, spec_events: Path, console_log: Path, log: Path) -> VMMExit:
        return VMMExit(ExitReason.GUEST_SHUTDOWN)

    async def kill(self, machine: Machine, process_name: str) -> None:
        if self.is_alive(machine, process_name):
            (self._folder / process_name).unlink()

    async def release(self, process_name: str) -> None:
        pass

    async def quit(self, monitor_socket: Path, *, timeout: float) -> bool:
        return False

    def bound_logs(self, *logs: Path) -> None: ...

    async def counters(self, machine: Machine, monitor_socket: Path, events: Path) -> Counters:
        if not any(
            json.loads(path.read_text()) == asdict(machine) for path in self._folder.iterdir()
        ):
            raise VMMFailed(f"the VMM process {machine.pid} is gone")
        return Counters(time.monotonic(), 1.5, 64 << 20, 32 << 20, 4096, 8192)

    async def press_power(self, monitor_socket: Path) -> bool:
        self.pressed.append(monitor_socket)
        if not self.has_key:
            return False
        vm_id = monitor_socket.parent.name
        for path in self._folder.iterdir():
            if path.name.endswith(vm_id):
                path.unlink()
        return True

    async def run_state(self, monitor_socket: Path) -> RunState:
        return RunState.RUNNING

    async def pause(self, monitor_socket: Path) -> None: ...

    async def resume(self, monitor_socket: Path) -> None: ...

    async def forward(
        self, monitor_socket: Path, before: Sequence[Forward], after: Sequence[Forward]
    ) -> None: ...


class FakeStore:
    """A writable layer that is one small file."""

    name = "fake"
    grows_live = False
    breaks_when_full = False

    def __init__(self, world: World) -> None:
        self._active = world.root / "active"

    def probe(self, spec: RootfsSpec) -> Presence:
        return Presence.OURS if self._layer(spec).exists() else Presence.ABSENT

    async def prepare(self, spec: RootfsSpec) -> None:
        self._layer(spec).touch()

    async def activate(self, spec: RootfsSpec) -> Drive:
        assert self._layer(spec).exists()
        (self._active / spec.vm_id).touch()
        return Drive("root", self._layer(spec), "raw")

    async def deactivate(self, spec: RootfsSpec) -> None:
        (self._active / spec.vm_id).unlink(missing_ok=True)

    async def grow(self, spec: RootfsSpec) -> None:
        assert self.grows_live or not (self._active / spec.vm_id).exists(), "grown while active"
        self._layer(spec).write_text(str(max(self._size(spec), spec.overlay_bytes)))

    async def copy(self, source: RootfsSpec, target: RootfsSpec) -> None:
        assert source.base == target.base
        assert not (self._active / source.vm_id).exists(), "copied while active"
        self._layer(target).write_text(self._layer(source).read_text())

    async def flatten(self, spec: RootfsSpec, target: Path) -> None:
        assert not (self._active / spec.vm_id).exists(), "flattened while active"
        target.write_text(f"{spec.base.read_text()} and {self._layer(spec).read_text()}")

    async def remove(self, spec: RootfsSpec) -> None:
        assert not (self._active / spec.vm_id).exists(), "removed while active"
        self._layer(spec).unlink(missing_ok=True)

    def usage(self, spec: RootfsSpec) -> DiskUsage:
        return DiskUsage(0, spec.overlay_bytes)

    def _size(self, spec: RootfsSpec) -> int:
        return int(self._layer(spec).read_text() or 0)

    def _layer(self, spec: RootfsSpec) -> Path:
        return spec.directory / "layer"


class FakeWorkDisk:
    """The same for the work disk."""

    def probe(self, directory: Path) -> Presence:
        return Presence.OURS if (directory / "work").exists() else Presence.ABSENT

    async def prepare(self, directory: Path, size_bytes: int) -> None:
        (directory / "work").write_text(str(size_bytes))

    async def grow(self, directory: Path, size_bytes: int) -> None:
        assert int((directory / "work").read_text()) <= size_bytes, "shrunk"
        (directory / "work").write_text(str(size_bytes))

    async def copy(self, source: Path, target: Path) -> None:
        (target / "work").write_text((source / "work").read_text())

    def drive(self, directory: Path) -> Drive:
        return Drive("work", directory / "work", "raw")

    async def remove(self, directory: Path) -> None:
        (directory / "work").unlink(missing_ok=True)


class FakeNetwork:
    """TAPs that are files, 64 addresses in all."""

    name = "tap"
    closed = True
    live = True

    def __init__(self, world: World) -> None:
        self._folder = world.root / "taps"
        self._rules = world.root / "rules"

    def check(self) -> None: ...

    def candidates(self, vm_id: str) -> Iterator[Lease]:
        for number in range(64):
            yield Lease(
                kind="tap",
                mac=mac_address(vm_id),
                address=f"10.208.{number}.2",
                prefix_length=30,
                gateway=f"10.208.{number}.1",
                tap=tap_name(vm_id),
                ssh_host=f"10.208.{number}.2",
                ssh_port=22,
            )

    def probe(self, lease: Lease, vm_id: str) -> Presence:
        path = self._folder / lease.tap
        if not path.exists():
            return Presence.ABSENT
        return Presence.OURS if path.read_text() == vm_id else Presence.FOREIGN

    async def attach(
        self, lease: Lease, vm_id: str, reach: Reach = CLOSED, dns_port: int = 0
    ) -> None:
        (self._folder / lease.tap).write_text(vm_id)
        await self.admit(lease, vm_id, reach, dns_port)

    def traffic(self, lease: Lease) -> Traffic | None:
        if not (self._folder / lease.tap).exists():
            return None
        return Traffic(1000, 500, 10, 5, 0, 1)

    async def admit(self, lease: Lease, vm_id: str, reach: Reach, dns_port: int = 0) -> None:
        assert (self._folder / lease.tap).read_text() == vm_id
        (self._rules / lease.tap).write_text(json.dumps(asdict(reach)))

    async def astray(self, attachments: Sequence[Attachment]) -> list[str]:
        return [each.vm_id for each in attachments if not self._is_so(each)]

    def _is_so(self, attachment: Attachment) -> bool:
        path = self._rules / attachment.lease.tap
        return path.exists() and path.read_text() == json.dumps(asdict(attachment.reach))

    def unruled(self) -> bool:
        return not any(self._rules.iterdir())

    async def restore(self, attachment: Attachment) -> None:
        await self.admit(attachment.lease, attachment.vm_id, attachment.reach)

    async def detach(self, lease: Lease, vm_id: str) -> None:
        if self.probe(lease, vm_id) is Presence.OURS:
            (self._rules / lease.tap).unlink(missing_ok=True)
            (self._folder / lease.tap).unlink()


class FakeNames:
    """Published names that are files, which hold the name."""

    def __init__(self, world: World) -> None:
        self._folder = world.root / "names"

    async def publish(self, publication: Publication) -> None:
        (self._folder / publication.vm_id).write_text(f"{publication.name}.vm")

    async def listen(self, lease: Lease, vm_id: str) -> int:
        return 0

    async def withdraw(self, vm_id: str) -> None:
        (self._folder / vm_id).unlink(missing_ok=True)

    async def settle(self, publications: Sequence[Publication], busy: Collection[str]) -> None:
        for publication in publications:
            await self.publish(publication)

    def nameservers(self, lease: Lease) -> tuple[str, ...]:
        return lease.nameservers

    def dns_name(self, vm_id: str) -> str:
        path = self._folder / vm_id
        return path.read_text() if path.exists() else ""

    def obstacle(self, vm_id: str) -> str:
        return ""

    def list(self) -> dict[str, str]:
        return {path.read_text(): "" for path in self._folder.iterdir()}

    def status(self) -> NameStatus:
        return NameStatus("", "", "")

    async def close(self) -> None: ...


class FakeAgent:
    """An agent that knows how to power off: it removes the process file."""

    def __init__(self, world: World, vm_id: str, *, hangs: bool = False) -> None:
        self._folder = world.root / "processes"
        self._vm_id = vm_id
        self._hangs = hangs

    async def ping(self, *, timeout: float) -> dict[str, object]:
        if not list(self._folder.glob(f"*-{self._vm_id}")):
            raise DeadlineExceeded("no guest")
        return {}

    async def execute(self, command: GuestCommand) -> FakeProcess:
        return FakeProcess(command)

    async def shutdown(self, *, timeout: float) -> None:
        if self._hangs:
            await asyncio.sleep(timeout)
            raise DeadlineExceeded("the agent is silent")
        for path in self._folder.glob(f"*-{self._vm_id}"):
            path.unlink()

    async def close(self) -> None: ...


class FakeProcess:
    """Echoes its command line and ends with 7."""

    def __init__(self, command: GuestCommand) -> None:
        self._command = command

    async def write(self, data: bytes) -> None: ...

    async def output(self) -> AsyncIterator[Chunk]:
        yield Chunk("stdout", " ".join(self._command.argv).encode())

    async def status(self) -> int:
        return 7

    async def signal(self, number: int) -> None: ...

    async def close(self) -> None: ...


class FakeGuest:
    """Keys are plain text, guests answer at once while their process file exists."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: For each connection to an agent whether it goes through a vsock.
        self.connected: list[bool] = []
        self.agents_hang = False

    def new_host_key(self, private: Path) -> str:
        public = private.with_name(private.name + ".pub")
        if not public.exists():
            files.write_atomic(private, "private\n")
            files.write_atomic(public, f"ssh-ed25519 {private.parent.name}\n")
        return public.read_text().strip()

    def user_key(self, private: Path) -> str:
        return "ssh-ed25519 user"

    def write_known_hosts(self, path: Path, entries: dict[str, str]) -> None:
        files.write_atomic(path, "".join(f"{k} {v}\n" for k, v in sorted(entries.items())))

    def write_ssh_config(
        self, path: Path, hosts: Sequence[SSHHost], *, user: str, key: Path, known_hosts: Path
    ) -> None:
        files.write_atomic(path, "".join(f"{host.name} {host.address}\n" for host in hosts))

    def write_initrd(self, identity: Identity, base: Path, target: Path) -> None:
        files.write_atomic(target, base.read_bytes() + identity.hostname.encode())

    def reads_identity(self, initrd: Path) -> bool:
        return initrd.read_bytes().startswith(b"initrd")

    async def write_layer(self, identity: Identity, target: LayerTarget) -> None:
        assert target.device.exists()
        (self._world.root / "layers" / identity.hostname).write_text(str(target.modules or ""))

    async def forget_identity(self, target: ForgetTarget) -> None:
        assert target.base.exists()
        target.device.write_text(target.device.read_text() + " without identity")

    def copy_modules(self, folder: Path, target: Path) -> None:
        shutil.copytree(folder, target)

    def check_modules(self, folder: Path) -> None:
        if not (folder / "kernel").is_dir():
            raise InvalidInput("no modules")

    def kernel_arguments(self, profile: str, *, layer: bool = False) -> tuple[str, ...]:
        return ("quiet", "init=/layer") if layer else ("quiet",)

    def connect(self, agent_socket: Path, *, vsock: bool = False) -> FakeAgent:
        self.connected.append(vsock)
        return FakeAgent(self._world, agent_socket.parent.name, hangs=self.agents_hang)

    def ssh_command(
        self, *, host: str, port: int, user: str, key: Path, known_hosts: Path, host_key_alias: str
    ) -> tuple[str, ...]:
        return ("ssh", "-p", str(port), f"{user}@{host}")

    async def ssh_banner(self, host: str, port: int, *, timeout: float) -> bool:
        return True


class FakeImporter:
    """Writes a small file that says what it was made of."""

    async def unpack(
        self, spec: ImportSpec, folders: BuildFolders, progress: ProgressCallback
    ) -> ImportedImage:
        progress("reading", 0.5, "layer 1")
        content = spec.archive.read_bytes().decode(errors="replace")
        if content == "bad":
            raise InvalidInput(f"{spec.archive} cannot be imported", cause="it is bad")
        (folders.scratch / "work").touch()
        (folders.target / "rootfs.ext4").write_text(f"{content} with {spec.modules or 'nothing'}")
        if self.brings_kernel(spec.archive):
            (folders.target / "vmlinux").write_text("exported vmlinux")
        return ImportedImage(
            spec.size_bytes,
            origin=f"imported from {spec.archive.name}",
            exported_sha256=content.removeprefix("exported ") if "exported" in content else "",
            container={"Env": ["A=b"]},
        )

    def brings_kernel(self, archive: Path) -> bool:
        return archive.is_file() and archive.read_bytes().startswith(b"exported")


class FakeBuilder:
    """Writes three small files."""

    name = "fake"

    def __init__(self) -> None:
        self.customized: list[Customization] = []

    async def build(
        self, spec: ImageSpec, folders: BuildFolders, progress: ProgressCallback
    ) -> BuiltImage:
        progress("download", 0.5, spec.packages[0])
        (folders.scratch / "work").touch()
        for name in ("rootfs.ext4", "vmlinux", "initrd.cpio"):
            (folders.target / name).write_text(name)
        return BuiltImage(spec.size_bytes, 4096, "0" * 64, "6.12.0", len(spec.packages))

    async def customize(
        self, wanted: Customization, folders: BuildFolders, progress: ProgressCallback
    ) -> BuiltImage:
        progress("unpack", None, wanted.rootfs)
        assert Path(wanted.rootfs).is_file()
        (folders.scratch / "work").touch()
        for name in ("rootfs.ext4", "vmlinux", "initrd.cpio"):
            (folders.target / name).write_text(name)
        self.customized.append(wanted)
        return BuiltImage(wanted.size_bytes, 4096, "0" * 64, "6.12.0", 7)

    async def plain_kernel(self, kernel: Path, target: Path) -> Path:
        return kernel

    async def seal(self, folder: Path) -> tuple[int, str]:
        return 4096, "1" * 64

    async def clean(self, folders: BuildFolders) -> None:
        files.remove_tree(folders.scratch)
        files.remove_tree(folders.target)
