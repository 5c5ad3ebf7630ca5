"""The plan that starts a VM: room, drives, interface, identity, launch, readiness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar

from banger.drivers.vmm.base import VMM, BootSpec, NetworkDevice
from banger.errors import BangerError, DeadlineExceeded, VMMFailed
from banger.host import files
from banger.model.lifecycle import ExitReason, VMState
from banger.model.operation import Presence
from banger.model.vm import VM, Machine
from banger.naming import process_name
from banger.service import room
from banger.service.boot_files import bootable_kernel, initrd_of, takes_layer
from banger.service.console_tail import console_tail
from banger.service.create import VMStep, rootfs_spec
from banger.service.identity import WriteIdentity
from banger.service.names import PublishName, withdraw
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan

#: Pause between two looks whether the guest answers, in seconds.
_READY_PAUSE = 0.02


def vmm_of(step: VMStep) -> VMM:
    return step.context.drivers.vmms[step.plan.vm.spec.vmm]


def mark_of(step: VMStep) -> str:
    return process_name(step.context.uid, step.vm_id)


class CheckRoom(VMStep):
    """Refuses before anything is touched when memory or disk space is short."""

    name = "room"
    title = "check memory and disk space"
    traceless = True  # it only looks

    async def apply(self, report: Report) -> dict[str, object]:
        vm = self.plan.vm
        room.check_memory(vm.name, vm.spec.memory_mib, f"banger vm set {vm.name}")
        room.check_floor(self.context)
        return {}


class ActivateRootDrive(VMStep):
    """The root drive, ready for the VMM."""

    name = "rootfs"
    title = "activate the root drive"
    traceless = True  # what is active ends with the kernel

    async def apply(self, report: Report) -> dict[str, object]:
        vm = self.plan.vm
        store = self.context.drivers.stores[vm.spec.storage]
        self.plan.root_drive = await store.activate(rootfs_spec(self.context, vm))
        return {"path": str(self.plan.root_drive.path)}

    async def undo(self) -> None:
        vm = self.plan.vm
        await self.context.drivers.stores[vm.spec.storage].deactivate(rootfs_spec(self.context, vm))


class AttachInterface(VMStep):
    """The host side of the VM's interface."""

    name = "interface"
    title = "attach the network interface"
    traceless = True  # interfaces, rules and sockets end with the kernel

    def probe(self) -> Presence:
        vm = self.plan.vm
        return self.context.drivers.networks[vm.lease.kind].probe(vm.lease, vm.id)

    def obstacle(self) -> tuple[str, str]:
        return self.plan.vm.lease.obstacle()

    async def apply(self, report: Report) -> dict[str, object]:
        vm = self.plan.vm
        dns_port = await self.context.drivers.names.listen(vm.lease, vm.id)
        network = self.context.drivers.networks[vm.lease.kind]
        await network.attach(vm.lease, vm.id, vm.spec.reach, dns_port)
        return {"tap": vm.lease.tap, "ssh_port": vm.lease.ssh_port}

    async def undo(self) -> None:
        vm = self.plan.vm
        await self.context.drivers.networks[vm.lease.kind].detach(vm.lease, vm.id)
        await withdraw(self.context, vm.id)


class Launch(VMStep):
    """The VMM process. Once it is journalled done, recovery adopts it."""

    name = "launch"
    title = "launch the VMM"

    async def apply(self, report: Report) -> dict[str, object]:
        vmm = vmm_of(self)
        # To look for it costs a look at every process of the host.
        machine = vmm.find(mark_of(self)) if self.plan.resumed else None
        if machine is None:
            files.make_private_folder(self.context.paths.vm_runtime(self.vm_id))
            machine = await vmm.launch(await self._boot_spec())
        return {
            "pid": machine.pid,
            "start_ticks": machine.start_ticks,
            "executable": machine.executable,
            "boot_id": machine.boot_id,
            "accelerator": machine.accelerator,
            "version": machine.version,
        }

    def commit(self, observed: dict[str, object]) -> None:
        machine = Machine(**observed)  # type: ignore[arg-type]  # written by apply above
        self.plan.save(machine=machine, started_at=time.time(), last_exit=None, problem={})

    async def undo(self) -> None:
        await self.context.drop_agent(self.vm_id)
        vmm = vmm_of(self)
        machine = vmm.find(mark_of(self))
        if machine is not None:
            await vmm.kill(machine, mark_of(self))
        await vmm.release(mark_of(self))
        files.remove_tree(self.context.paths.vm_runtime(self.vm_id))

    async def _boot_spec(self) -> BootSpec:
        vm, context = self.plan.vm, self.context
        paths, spec = context.paths, vm.spec
        store = context.drivers.stores[spec.storage]  # asked where another daemon has done it
        drives = [self.plan.root_drive or await store.activate(rootfs_spec(context, vm))]
        layer = takes_layer(spec, context.drivers.guest)
        if spec.work_disk_bytes:
            drives.append(context.drivers.work_disk.drive(paths.vm(vm.id)))
        return BootSpec(
            vm_id=vm.id,
            process_name=mark_of(self),
            vcpus=spec.vcpus,
            memory_mib=spec.memory_mib,
            kernel=await bootable_kernel(context, vm),
            initrd=initrd_of(paths, spec) if layer else paths.vm_initrd(vm.id),
            arguments=context.drivers.guest.kernel_arguments(spec.profile, layer=layer),
            drives=tuple(drives),
            network=NetworkDevice(
                mac=vm.lease.mac,
                tap=vm.lease.tap,
                ssh_port=0 if vm.lease.tap else vm.lease.ssh_port,
                forwards=() if vm.lease.tap else spec.reach.forwards,
            ),
            console_log=paths.console_log(vm.id),
            console_socket=paths.console_socket(vm.id),
            monitor_socket=paths.monitor_socket(vm.id),
            agent_socket=paths.agent_socket(vm.id),
            events=paths.vmm_events(vm.id),
            log=paths.vmm_log(vm.id),
            run_as=context.drivers.run_as,
            jail=spec.jail,
        )


class AwaitGuest(VMStep):
    """Waits until the guest answers: its SSH server greets, or its agent where SSH is absent."""

    name = "ready"
    title = "wait until the guest answers"
    traceless = keeps_on_deadline = True  # it only looks

    def lingers(self) -> bool:
        return bool(self.plan.operation.arguments.get("wait", True))

    async def apply(self, report: Report) -> dict[str, object]:
        arguments = self.plan.operation.arguments
        if not self.lingers():
            return {}
        timeout = float(str(arguments.get("timeout", self.context.settings.start_timeout)))
        vm = self.plan.vm
        started = asyncio.get_running_loop().time()
        gone = asyncio.create_task(vmm_of(self).wait(_machine(vm)))
        answers = asyncio.create_task(self._answers(vm, timeout))
        try:
            await asyncio.wait(
                {gone, answers}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if answers.done():
                answers.result()
                return {"seconds": round(asyncio.get_running_loop().time() - started, 3)}
            if gone.done():
                raise self._ended_early(vm)
            raise DeadlineExceeded(
                f"{vm.name} runs, but did not answer within {timeout:g} s",
                cause="neither its SSH server nor its agent greets",
                resolution=f"banger logs {vm.name}",
                details=console_tail(self.context.paths.console_log(vm.id)),
            )
        finally:
            for task in (gone, answers):
                task.cancel()
            await asyncio.gather(gone, answers, return_exceptions=True)

    async def _answers(self, vm: VM, timeout: float) -> None:
        ways = [self._ssh(vm, timeout)]
        image = self.context.images.get(vm.spec.image_id) if vm.spec.image_id else None
        if image is not None and image.carries_agent and not vm.spec.rootfs:
            # Whether it has an SSH server, nobody knows; the agent is there for sure.
            ways.append(self._agent(vm, timeout))
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _agent(self, vm: VM, timeout: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            try:
                left = deadline - asyncio.get_running_loop().time()
                await self.context.agent(vm).ping(timeout=max(left, 0.1))
            except BangerError:
                await asyncio.sleep(_READY_PAUSE)
            else:
                return

    async def _ssh(self, vm: VM, timeout: float) -> None:
        guest = self.context.drivers.guest
        while not await guest.ssh_banner(  # noqa: ASYNC110 - the guest sends no event
            vm.lease.ssh_host, vm.lease.ssh_port, timeout=timeout
        ):
            await asyncio.sleep(_READY_PAUSE)

    def _ended_early(self, vm: VM) -> VMMFailed:
        paths = self.context.paths
        ended = vmm_of(self).exit_of(
            paths.vmm_events(vm.id), paths.console_log(vm.id), paths.vmm_log(vm.id)
        )
        return VMMFailed(
            f"{vm.name} ended while it booted",
            cause=f"{ended.reason.value}: {ended.detail.strip().splitlines()[-1]}"
            if ended.detail.strip()
            else ended.reason.value,
            resolution=f"banger logs {vm.name}",
            details=console_tail(paths.console_log(vm.id)),
        )


def _machine(vm: VM) -> Machine:
    if vm.machine is None:
        raise BangerError(f"{vm.name} has no VMM")
    return vm.machine


BOOT_STEPS: tuple[type[VMStep], ...] = (
    CheckRoom,
    ActivateRootDrive,
    AttachInterface,
    WriteIdentity,
    Launch,
    PublishName,
    AwaitGuest,
)


class StartPlan(VMPlan):
    """Backward until the guest runs; adopted after."""

    kind: ClassVar[str] = "vm.start"
    direction: ClassVar[Direction] = Direction.BACKWARD
    step_types: ClassVar[tuple[type[Step], ...]] = BOOT_STEPS

    def steps(self) -> Sequence[Step]:
        return [step(self) for step in BOOT_STEPS]

    def must_go_on(self) -> bool:
        vmm = self.context.drivers.vmms[self.vm.spec.vmm]
        return vmm.find(process_name(self.context.uid, self.vm.id)) is not None

    def succeeded(self) -> dict[str, object]:
        vm = self.save(state=VMState.RUNNING, problem={})
        return {"id": vm.id, "name": vm.name, **self.observed.get("ready", {})}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        if not undone:
            self.save(state=VMState.RUNNING, problem=error)
        elif "follows" in self.operation.arguments:
            self.save_as_before(self.operation.arguments["follows"], error)
        elif error["code"] == "cancelled":
            self.save_stopped(ExitReason.STOPPED, error["brief"])
        else:
            self.save_stopped(
                ExitReason.START_FAILED, error["brief"], state=VMState.FAILED, problem=error
            )
