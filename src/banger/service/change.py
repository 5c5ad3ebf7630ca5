"""Changes what VMs have, copies them, and gives them new root file systems, as operations."""

from __future__ import annotations

import dataclasses
import time

from msgspec import structs

from banger.errors import HostNotReady, InvalidInput
from banger.model.lifecycle import Action
from banger.model.operation import Operation
from banger.model.vm import VM, VMSpec
from banger.naming import check_name
from banger.service import rebuild, resolution, room, sizes
from banger.service.boot_files import own_boot_of, takes_layer
from banger.service.context import Context
from banger.service.images import ImageService
from banger.service.operations import OperationService, Target
from banger.service.requests import SetRequest
from banger.service.vms import VMService


class ChangeService:
    """Use cases on what a VM is made of."""

    def __init__(
        self,
        context: Context,
        vms: VMService,
        images: ImageService,
        operations: OperationService,
    ) -> None:
        self._context = context
        self._vms = vms
        self._images = images
        self._operations = operations

    async def set(self, reference: str, request: SetRequest) -> Operation:
        """Admit ``vm.set``. Only the overlay may grow while the VM runs, where that can be."""
        vm = self._vms.get(reference)
        given = {key: value for key, value in structs.asdict(request).items() if value is not None}
        grows = "overlay_bytes" not in given or self._store_grows_live(vm)
        live = bool(given) and set(given) <= {"overlay_bytes", "restart"} and grows
        self._require(vm, Action.GROW if live else Action.CHANGE)
        if not given:
            raise InvalidInput(
                f"nothing is to be changed of {vm.name}",
                cause="no new value is given",
                resolution=f"banger vm set {vm.name} --memory 2G",
            )
        if given.get("restart", vm.spec.restart) != vm.spec.restart:
            given["restart_since"] = time.time()
        after = dataclasses.replace(vm.spec, **given)
        resolution.check_sizes(after)
        _only_grow(vm, after)
        if after.memory_mib > vm.spec.memory_mib:
            cure = f"banger vm set {vm.name}"
            room.check_memory(vm.name, after.memory_mib, cure)
        arguments = sizes.arguments_of(vm.spec, after)
        return self._operations.admit("vm.set", Target("vm", vm.id, vm.name), arguments)

    async def clone(self, reference: str, name: str) -> Operation:
        """Admit ``vm.clone`` of a stopped VM; no port that it publishes is taken over."""
        source = self._vms.get(reference)
        self._require(source, Action.CLONE)
        check_name(name)
        self._vms.require_free(name)
        self._context.drivers.networks[source.spec.network].check()
        self._require_room()
        reach = dataclasses.replace(source.spec.reach, forwards=())
        spec = dataclasses.replace(source.spec, reach=reach)
        return self._vms.admit_new(name, spec, "vm.clone", {"source": source.id})

    async def rebuild(self, reference: str, image: str = "") -> Operation:
        """Admit ``vm.rebuild`` from ``image``, or from what the VM was made of."""
        vm = self._vms.get(reference)
        self._require(vm, Action.REBUILD)
        after = vm.spec
        if image or vm.spec.image_id:
            found = self._images.ready(image or vm.spec.image_name)
            own = own_boot_of(self._context.paths, found)
            after = dataclasses.replace(
                vm.spec,
                image_id=found.id,
                image_name=found.name,
                rootfs="",
                kernel=own.kernel,
                initrd=own.initrd,
                modules=own.modules,
            )
            self._refuse_unwritable(vm, after)
        self._require_room()

        def reserve(_operation: Operation) -> None:
            # From now on the image is in use and cannot be deleted.
            self._context.change_vm(vm, spec=after)

        arguments = rebuild.arguments_of(vm.spec)
        target = Target("vm", vm.id, vm.name)
        return self._operations.admit("vm.rebuild", target, arguments, reserve=reserve)

    def _require(self, vm: VM, action: Action) -> None:
        if self._operations.busy_with(vm.id) is None:
            self._vms.require(vm, action)
        if vm.spec.storage not in self._context.drivers.stores:
            raise HostNotReady(
                f"cannot {action.value} {vm.name}",
                cause=f"the storage driver {vm.spec.storage} is not available here",
                resolution="banger doctor",
            )

    def _refuse_unwritable(self, vm: VM, after: VMSpec) -> None:
        if vm.spec.storage == "qcow2" and takes_layer(after, self._context.drivers.guest):
            raise InvalidInput(
                f"{vm.name} cannot be rebuilt from the image {after.image_name}",
                cause="that boots a kernel of its own, so its drive must be raw, and it is qcow2",
                resolution=f"banger create --image {after.image_name}, for a new VM",
            )

    def _require_room(self) -> None:
        room.check_floor(self._context)

    def _store_grows_live(self, vm: VM) -> bool:
        store = self._context.drivers.stores.get(vm.spec.storage)
        return store is not None and store.grows_live


def _only_grow(vm: VM, after: VMSpec) -> None:
    disks = (("overlay", "overlay_bytes"), ("work disk", "work_disk_bytes"))
    for what, field in disks:
        present, wanted = getattr(vm.spec, field), getattr(after, field)
        if wanted < present:
            option = "--overlay-size" if field == "overlay_bytes" else "--disk-size"
            raise InvalidInput(
                f"the {what} of {vm.name} cannot become smaller",
                cause=f"it has {present} bytes, and {wanted} were asked for",
                resolution=f"banger vm set {vm.name} {option} with more than it has",
            )
