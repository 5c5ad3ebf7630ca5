"""Connects VMs with the internet and publishes their ports, as operations."""

from __future__ import annotations

import dataclasses

from banger.errors import AlreadyExists, Conflict, NotFound
from banger.model.lifecycle import Action
from banger.model.network import Forward, Reach
from banger.model.operation import Operation
from banger.model.vm import VM
from banger.service import published
from banger.service.context import Context
from banger.service.operations import OperationService, Target
from banger.service.reach import arguments_of, network_of
from banger.service.vms import VMService
from banger.store.resources import Taken


class ConnectivityService:
    """Use cases on what a VM reaches, and what reaches it."""

    def __init__(self, context: Context, vms: VMService, operations: OperationService) -> None:
        self._context = context
        self._vms = vms
        self._operations = operations

    async def nat(self, reference: str, *, up: bool) -> Operation:
        """Admit ``vm.nat``. What is so already is no error."""
        vm = self._vms.get(reference)
        if not network_of(self._context, vm).closed and not up:
            raise Conflict(
                f"{vm.name} cannot be kept from the internet",
                cause=f"the network {vm.lease.kind!r} is the VMM's own, which always reaches it",
                resolution="banger create --network tap",
            )
        return self._admit("vm.nat", vm, dataclasses.replace(vm.spec.reach, internet=up))

    async def publish(self, reference: str, forward: Forward) -> Operation:
        """Admit ``vm.forward`` that adds a port; one that is so already is no error.

        Raises ``AlreadyExists`` if the port leads elsewhere.
        """
        vm = self._vms.get(reference)
        published.check(self._context, vm.lease.kind, vm.name, [forward])
        reach = vm.spec.reach
        for other in reach.forwards:
            if other.reservation() == forward.reservation() and other != forward:
                raise AlreadyExists(
                    f"port {forward.host_port} of the host already leads to {vm.name}",
                    cause=f"{other} is published",
                    resolution=f"banger vm forward rm {vm.name} {other.host_port}/{other.protocol}",
                )
        if forward.reservation() in vm.lease.reservations():
            raise AlreadyExists(
                f"port {forward.host_port} of the host already leads to {vm.name}",
                cause="it is where the host reaches its SSH server",
                resolution="choose another port",
            )
        forwards = tuple(sorted({*reach.forwards, forward}))
        return self._admit("vm.forward", vm, dataclasses.replace(reach, forwards=forwards))

    async def withdraw(self, reference: str, forward: Forward) -> Operation:
        """Admit ``vm.forward`` that takes a port back. Raises ``NotFound``."""
        vm = self._vms.get(reference)
        reach = vm.spec.reach
        if forward not in reach.forwards:
            raise NotFound(
                f"{vm.name} does not publish {forward}",
                cause="published: " + (", ".join(map(str, reach.forwards)) or "nothing"),
                resolution=f"banger vm forward list {vm.name}",
            )
        forwards = tuple(other for other in reach.forwards if other != forward)
        return self._admit("vm.forward", vm, dataclasses.replace(reach, forwards=forwards))

    def _admit(self, kind: str, vm: VM, reach: Reach) -> Operation:
        if self._operations.busy_with(vm.id) is None:
            self._vms.require(vm, Action.REACH)

        def reserve(operation: Operation) -> None:
            try:
                self._context.resources.reserve(
                    reach.reservations(),
                    owner_id=vm.id,
                    operation_id=operation.id,
                    boot_id=operation.boot_id,
                )
            except Taken as taken:
                raise published.taken(self._context, taken) from None

        arguments = arguments_of(vm.spec.reach, reach)
        return self._operations.admit(
            kind, Target("vm", vm.id, vm.name), arguments, reserve=reserve
        )
