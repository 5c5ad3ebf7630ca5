"""The step that gives a guest its identity: behind our initrd, or in the VM's own root drive."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from banger.drivers.guest.base import Identity, LayerTarget
from banger.errors import InvalidInput
from banger.host.disk_content import ext_facts, read_head, what_is
from banger.model.vm import VM
from banger.service.boot_files import initrd_of, takes_layer
from banger.service.create import VMStep, rootfs_spec
from banger.service.ssh_files import ssh_files_know, write_ssh_files
from banger.service.steps import Report


class WriteIdentity(VMStep):
    """What the guest is told: behind banger's initrd, or in the guest's own root drive."""

    name = "identity"
    title = "write the guest's identity"
    traceless = True  # files of a VM that stays, written anew by each start: nothing is undone

    async def apply(self, report: Report) -> dict[str, object]:
        vm, paths, guest = self.plan.vm, self.context.paths, self.context.drivers.guest
        base = initrd_of(paths, vm.spec)
        if takes_layer(vm.spec, guest):
            await self._write_layer(vm)
        elif base is not None:
            guest.write_initrd(self._identity(vm), base, paths.vm_initrd(vm.id))
        if not ssh_files_know(self.context, vm):
            write_ssh_files(self.context)
        return {}

    async def _write_layer(self, vm: VM) -> None:
        context = self.context
        drive = await context.drivers.stores[vm.spec.storage].activate(rootfs_spec(context, vm))
        if drive.format != "raw":
            raise InvalidInput(
                f"{vm.name} cannot boot with the initrd {vm.spec.initrd}",
                cause="it is no longer one of banger's, and files cannot be put into a qcow2 drive",
                resolution="create the VM again with --storage copy",
            )
        if await asyncio.to_thread(_is_empty, drive.path):
            return  # nothing in it could ever read an identity
        target = LayerTarget(
            device=drive.path,
            journal=context.paths.root_journal(vm.id),
            modules=Path(vm.spec.modules) if vm.spec.modules else None,
            run_as=context.drivers.run_as,
        )
        await context.drivers.guest.write_layer(self._identity(vm), target)

    def _identity(self, vm: VM) -> Identity:
        paths, guest = self.context.paths, self.context.drivers.guest
        private = paths.host_key(vm.id)
        public = guest.new_host_key(private)
        nameservers = self.context.drivers.names.nameservers(vm.lease)
        return Identity(
            hostname=vm.name,
            # Derived from the id: the same guest on every boot, another one for every VM.
            machine_id=f"{vm.id}{vm.id[::-1]}{vm.id[:8]}",
            authorized_key=guest.user_key(paths.ssh_key),
            host_key=private.read_text(encoding="ascii"),
            host_public_key=public,
            lease=dataclasses.replace(vm.lease, nameservers=nameservers),
            profile=vm.spec.profile,
            work_disk=vm.spec.work_disk_bytes > 0,
        )


def _is_empty(path: Path) -> bool:
    head = read_head(path)
    return not what_is(head) and ext_facts(head).empty
