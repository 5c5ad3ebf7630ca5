"""Creates, describes, lists, renames and deletes VMs."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Sequence

from msgspec import Struct, structs

from banger import proposals
from banger.errors import AlreadyExists, Conflict, HostNotReady
from banger.host import files
from banger.model.image import Image
from banger.model.lifecycle import Action, VMState, is_legal
from banger.model.operation import Operation
from banger.model.vm import VM, VMSpec
from banger.naming import check_name, new_id
from banger.service import published, references, resolution, room
from banger.service.boot_files import own_boot_of
from banger.service.context import Context
from banger.service.create import rootfs_spec
from banger.service.images import ImageService
from banger.service.operations import OperationService, Target
from banger.service.requests import CreateRequest
from banger.store.resources import Taken
from banger.store.vms import name_taken

_LEASES_TRIED = 4096


class VMFacts(Struct, frozen=True):
    """A VM with what is observed of it."""

    vm: VM
    overlay_used_bytes: int
    directory: str
    warnings: tuple[str, ...]
    #: Under which the host finds it now; empty if it does not.
    dns_name: str = ""


class VMService:
    """Use cases on VMs that do not concern their power."""

    def __init__(
        self, context: Context, operations: OperationService, images: ImageService
    ) -> None:
        self._context = context
        self._operations = operations
        self._images = images

    def list(self) -> Sequence[VM]:
        return self._context.vms.all()

    def get(self, reference: str) -> VM:
        """By name, id or unique id prefix. Raises ``NotFound`` or ``InvalidInput``."""
        vms = self._context.vms
        return references.find(
            "VM",
            reference,
            by_name=vms.by_name,
            by_id_prefix=vms.by_id_prefix,
            names=vms.names,
        )

    def describe(self, vm: VM) -> VMFacts:
        """Never raises for a broken VM: what cannot be observed is zero or a warning."""
        context, warnings = self._context, []
        used = 0
        store = context.drivers.stores.get(vm.spec.storage)
        if store is None:
            warnings.append(f"the storage driver {vm.spec.storage} is not available here")
        else:
            with contextlib.suppress(OSError):
                used = store.usage(rootfs_spec(context, vm)).used_bytes
        image = context.images.get(vm.spec.image_id) if vm.spec.image_id else None
        if vm.spec.image_id and image is None:
            warnings.append(f"its image {vm.spec.image_name} is gone")
        obstacle = context.drivers.names.obstacle(vm.id)
        if obstacle:
            warnings.append(f"its name does not resolve: {obstacle}")
        dns_name = context.drivers.names.dns_name(vm.id)
        return VMFacts(vm, used, str(context.paths.vm(vm.id)), tuple(warnings), dns_name)

    async def create(self, request: CreateRequest, idempotency_key: str = "") -> Operation:
        """Admit ``vm.create``. Everything is checked before anything is written."""
        known = self._operations.known(idempotency_key)
        if known is not None:
            return known
        if request.name:
            check_name(request.name)
            self.require_free(request.name)
        image = self._image_for(request)
        if image is not None and image.own_boot and not request.kernel:
            own = own_boot_of(self._context.paths, image)
            request = structs.replace(
                request, kernel=own.kernel, initrd=own.initrd, modules=own.modules
            )
        choice = await self._context.drivers.choose()
        spec = resolution.resolve(request, image, choice, self._context.drivers)
        self._context.drivers.networks[spec.network].check()
        what = request.name or "the VM"
        published.check(self._context, spec.network, what, spec.reach.forwards)
        room.check_memory(what, spec.memory_mib)
        files.make_private_folder(self._context.paths.state)
        room.check_floor(self._context)
        attempts = 1 if request.name else 20
        for attempt in range(attempts):
            name = request.name or proposals.propose(self._context.vms.names())
            try:
                return self.admit_new(name, spec, "vm.create", {}, idempotency_key)
            except AlreadyExists:
                if attempt == attempts - 1:
                    raise
        raise AssertionError("the loop returns or raises")

    async def rename(self, reference: str, name: str) -> Operation:
        """Admit ``vm.rename`` of a stopped VM."""
        check_name(name)
        vm = self.get(reference)
        self.require(vm, Action.RENAME)

        def reserve(operation: Operation) -> None:
            self._reserve(vm.id, operation, [("vm-name", name)], name)

        return self._operations.admit("vm.rename", _target(vm), {"name": name}, reserve=reserve)

    async def delete(self, reference: str, *, force: bool) -> Operation:
        """Admit ``vm.delete``. A running VM is refused without ``force``."""
        vm = self.get(reference)
        if force:
            await self._operations.preempt(vm.id)
            vm = self.get(vm.id)
        elif not self._operations.busy_with(vm.id):
            self.require(vm, Action.DELETE)

        def reserve(_operation: Operation) -> None:
            self.transition(vm, VMState.DELETING)

        return self._operations.admit("vm.delete", _target(vm), {"force": force}, reserve=reserve)

    def require(self, vm: VM, action: Action) -> None:
        """Raises ``Conflict`` if ``action`` is not legal in the VM's state."""
        if is_legal(action, vm.state):
            return
        running = vm.state in (VMState.RUNNING, VMState.PAUSED)
        first = f"banger stop {vm.name}" if running else f"banger start {vm.name}"
        if action is Action.DELETE and running:
            first = f"banger stop {vm.name}, or banger rm --force {vm.name}"
        raise Conflict(
            f"cannot {action.value} {vm.name}",
            cause=f"it is {vm.state.value}",
            resolution=first if vm.state is not VMState.DELETING else f"banger rm {vm.name}",
        )

    def require_free(self, name: str) -> None:
        """Raises ``AlreadyExists`` if a VM has the name."""
        if self._context.vms.by_name(name):
            raise name_taken(name)

    def transition(self, vm: VM, state: VMState) -> None:
        """Write a transitional state in the transaction that admits the operation."""
        self._context.change_vm(vm, state=state)

    def _image_for(self, request: CreateRequest) -> Image | None:
        if request.rootfs and request.kernel and not request.image:
            return None
        return self._images.ready(request.image or self._context.settings.image)

    def admit_new(
        self,
        name: str,
        spec: VMSpec,
        kind: str,
        arguments: dict[str, object],
        idempotency_key: str = "",
    ) -> Operation:
        """Admit an operation of ``kind`` that makes a VM, with the first free address.

        Raises ``AlreadyExists`` for a name that is taken, ``HostNotReady`` without an address.
        """
        vm_id = new_id()
        network = self._context.drivers.networks[spec.network]
        for number, lease in enumerate(network.candidates(vm_id)):
            if number >= _LEASES_TRIED:
                break
            if set(lease.reservations()) & set(spec.reach.reservations()):
                continue
            vm = VM(
                id=vm_id,
                name=name,
                spec=spec,
                state=VMState.CREATING,
                lease=lease,
                created_at=time.time(),
            )
            try:
                return self._operations.admit(
                    kind,
                    _target(vm),
                    arguments,
                    reserve=functools.partial(self._insert, vm),
                    idempotency_key=idempotency_key,
                )
            except Taken:
                continue
        raise HostNotReady(
            f"no free address for {name}",
            cause="every address of your slice of the pool is in use",
            resolution="banger ls, then banger rm what is not needed",
        )

    def _insert(self, vm: VM, operation: Operation) -> None:
        self._reserve(vm.id, operation, [("vm-name", vm.name)], vm.name)
        self._reserve(vm.id, operation, vm.lease.reservations(), "")
        try:
            self._reserve(vm.id, operation, vm.spec.reach.reservations(), "")
        except Taken as conflict:
            raise published.taken(self._context, conflict) from None
        self._context.vms.insert(vm)
        self._context.events.publish("vm", vm)

    def _reserve(
        self,
        vm_id: str,
        operation: Operation,
        keys: Sequence[tuple[str, str]],
        name: str,
    ) -> None:
        try:
            self._context.resources.reserve(
                keys, owner_id=vm_id, operation_id=operation.id, boot_id=operation.boot_id
            )
        except Taken:
            if name:
                raise name_taken(name) from None
            raise


def _target(vm: VM) -> Target:
    return Target("vm", vm.id, vm.name)
