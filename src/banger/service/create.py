"""The plan that makes a VM: its folder, host key and disks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from banger.drivers.storage.base import RootfsSpec
from banger.host import files
from banger.host.threads import in_thread
from banger.model.lifecycle import VMState
from banger.model.operation import Presence
from banger.model.vm import VM
from banger.service.boot_files import rootfs_of
from banger.service.context import Context
from banger.service.ssh_files import write_ssh_files
from banger.service.steps import Direction, Report, Step
from banger.service.target_plan import VMPlan


def rootfs_spec(context: Context, vm: VM) -> RootfsSpec:
    """What the storage driver needs to find the VM's root drive."""
    return RootfsSpec(
        vm_id=vm.id,
        base=rootfs_of(context.paths, vm.spec),
        directory=context.paths.vm(vm.id),
        overlay_bytes=vm.spec.overlay_bytes,
    )


class VMStep(Step):
    """A step of a plan on a VM."""

    def __init__(self, plan: VMPlan) -> None:
        self.plan = plan
        self.context = plan.context
        self.vm_id = plan.operation.target_id


class MakeFolder(VMStep):
    """The VM's own folder in the state folder."""

    name = "folder"
    title = "make the VM's folder"

    def probe(self) -> Presence:
        return Presence.OURS if self.context.paths.vm(self.vm_id).is_dir() else Presence.ABSENT

    async def apply(self, report: Report) -> dict[str, object]:
        files.make_private_folder(self.context.paths.vm(self.vm_id))
        return {}

    async def undo(self) -> None:
        files.remove_tree(self.context.paths.vm(self.vm_id))


class MakeHostKey(VMStep):
    """The guest's SSH host key, pinned before it ever boots."""

    name = "host-key"
    title = "make the SSH host key"

    async def apply(self, report: Report) -> dict[str, object]:
        guest, private = self.context.drivers.guest, self.context.paths.host_key(self.vm_id)
        public = await in_thread(lambda _stopped: guest.new_host_key(private))
        return {"public": public}


class MakeRootDrive(VMStep):
    """The writable layer over the image."""

    name = "rootfs"
    title = "make the writable layer"

    def probe(self) -> Presence:
        vm = self.plan.vm
        return self.context.drivers.stores[vm.spec.storage].probe(rootfs_spec(self.context, vm))

    async def apply(self, report: Report) -> dict[str, object]:
        vm = self.plan.vm
        await self.context.drivers.stores[vm.spec.storage].prepare(rootfs_spec(self.context, vm))
        return {}

    async def undo(self) -> None:
        vm = self.plan.vm
        await self.context.drivers.stores[vm.spec.storage].remove(rootfs_spec(self.context, vm))


class MakeWorkDisk(VMStep):
    """The optional second drive."""

    name = "work-disk"
    title = "make the work disk"

    def probe(self) -> Presence:
        return self.context.drivers.work_disk.probe(self.context.paths.vm(self.vm_id))

    async def apply(self, report: Report) -> dict[str, object]:
        size = self.plan.vm.spec.work_disk_bytes
        if size:
            await self.context.drivers.work_disk.prepare(self.context.paths.vm(self.vm_id), size)
        return {}

    async def undo(self) -> None:
        await self.context.drivers.work_disk.remove(self.context.paths.vm(self.vm_id))


class CreatePlan(VMPlan):
    """Backward: an unfinished create leaves nothing."""

    kind: ClassVar[str] = "vm.create"
    direction: ClassVar[Direction] = Direction.BACKWARD
    step_types: ClassVar[tuple[type[Step], ...]] = (
        MakeFolder,
        MakeHostKey,
        MakeRootDrive,
        MakeWorkDisk,
    )

    def steps(self) -> Sequence[Step]:
        return [MakeFolder(self), MakeHostKey(self), MakeRootDrive(self), MakeWorkDisk(self)]

    def succeeded(self) -> dict[str, object]:
        vm = self.save(state=VMState.STOPPED)
        return {"id": vm.id, "name": vm.name}

    def failed(self, error: dict[str, str], *, undone: bool) -> None:
        forget_vm(self.context, self.vm)

    async def settle(self) -> None:
        await super().settle()
        if self.operation.status.ended:
            write_ssh_files(self.context)


def forget_vm(context: Context, vm: VM) -> None:
    """Remove the row and give back all that the VM had reserved (in the open transaction)."""
    context.vms.delete(vm.id)
    context.resources.release(vm.id)
    context.events.publish("vm-deleted", {"id": vm.id, "name": vm.name})
