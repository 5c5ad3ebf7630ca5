"""Start-up is recovery: finishes or undoes what was half done, adopts what lives.

Nothing here asks how the last daemon ended: a clean stop and a kill are the same.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import Any

from banger.errors import BangerError, CorruptState
from banger.host import files
from banger.model.image import ImageState
from banger.model.lifecycle import ExitReason, VMState
from banger.model.vm import VM, Exit
from banger.naming import process_name
from banger.service import record
from banger.service.context import Context
from banger.service.names import publication_of
from banger.service.operations import OperationService
from banger.service.ssh_files import write_ssh_files
from banger.service.supervision import admit_exit
from banger.store.resources import Taken

_log = logging.getLogger(__name__)


def recover(context: Context, operations: OperationService) -> None:
    """Bring rows and host together. Long work (undo, release) goes on in the background.

    One broken object never keeps the daemon from starting: it is logged and left for
    ``doctor``.
    """
    rebuild(context)
    for operation in context.operations.all(active_only=True):
        try:
            operations.resume(operation)
        except Exception:  # noqa: BLE001 - one broken object never stops the rest
            _log.exception("operation %s cannot be recovered", operation.id)
    for vm in context.vms.all():
        try:
            _settle(context, operations, vm)
        except Exception:  # noqa: BLE001 - one broken object never stops the rest
            _log.exception("%s cannot be recovered", vm.name)
    _write_records(context, operations)
    for operation_id in context.operations.forget_old():
        context.paths.operation_log(operation_id).unlink(missing_ok=True)
    context.database.set_meta("boot_id", context.boot_id)
    write_ssh_files(context)


def _write_records(context: Context, operations: OperationService) -> None:
    """Info files that a daemon had no time for, after it had written the rows."""
    paths = context.paths
    try:
        for image in context.images.all():
            ready = image.state is ImageState.READY and operations.busy_with(image.id) is None
            if ready and record.read_image(paths.image_record(image.id)) != image:
                record.write_image(paths, image)
        for vm in context.vms.all():
            busy = operations.busy_with(vm.id) is not None
            if not busy and record.read_vm(paths.vm_record(vm.id)) != vm:
                record.write_vm(context, vm)
    except BangerError as error:
        _log.warning("info files are not up to date: %s: %s", error.brief, error.cause)


def _settle(context: Context, operations: OperationService, vm: VM) -> None:
    if operations.busy_with(vm.id) is not None:
        return
    mark = process_name(context.uid, vm.id)
    vmm = context.drivers.vmms[vm.spec.vmm]
    if vm.machine is not None and vmm.is_alive(vm.machine, mark):
        if vm.state not in (VMState.RUNNING, VMState.PAUSED):
            _write(context, vm, state=VMState.RUNNING)
        return
    stray = vmm.find(mark)
    if stray is not None:
        # A row from an older backup: what runs is believed, not what is stored.
        _log.warning("%s runs (pid %d) though its row does not say so", vm.name, stray.pid)
        _write(context, vm, state=VMState.RUNNING, machine=stray, started_at=time.time())
    elif vm.machine is not None:
        admit_exit(context, operations, vm)
    elif vm.state not in (VMState.STOPPED, VMState.FAILED):
        ended = Exit(ExitReason.STOPPED, time.time(), "found so at start")
        _write(context, vm, state=VMState.STOPPED, last_exit=vm.last_exit or ended)
    else:
        record.write_vm(context, vm)


def _write(context: Context, vm: VM, **changes: Any) -> None:
    record.write_vm(context, context.change_vm(vm, **changes))


def rebuild(context: Context) -> None:
    """Take back VMs and images whose rows are lost from their info files."""
    for path in sorted(context.paths.images.glob("*/image.json")):
        image = record.read_image(path)
        if image is None or image.id != path.parent.name:
            _log.warning("%s is not readable as an image", path)
        elif image.state is ImageState.READY and context.images.get(image.id) is None:
            if context.images.by_name(image.name) is not None:
                image = dataclasses.replace(image, name=f"{image.name}-{image.id[:6]}")
            context.images.put(image)
            _log.warning("image %s was rebuilt from %s", image.name, path)
    for path in sorted(context.paths.vms.glob("*/vm.json")):
        vm = record.read_vm(path)
        if vm is None or vm.id != path.parent.name:
            _log.warning("%s is not readable as a VM", path)
        elif context.vms.get(vm.id) is None:
            try:
                _take_back(context, vm)
            except Taken as taken:
                # An older database that came back: another VM of it has what this one had.
                _log.error("VM %s cannot be rebuilt from %s: %s", vm.name, path, taken)
            else:
                _log.warning("VM %s was rebuilt from %s", vm.name, path)


def _take_back(context: Context, vm: VM) -> None:
    if vm.state in (VMState.CREATING, VMState.DELETING):
        problem = CorruptState(
            f"{vm.name} may lack a part",
            cause=f"it was {vm.state.value} when the database was lost",
            resolution=f"banger rm {vm.name}",
        )
        vm = dataclasses.replace(vm, state=VMState.FAILED, problem=problem.as_dict())
    if context.vms.by_name(vm.name) is not None:
        vm = dataclasses.replace(vm, name=f"{vm.name[:57]}-{vm.id[:6]}")
    with context.database.transaction():
        context.vms.insert(vm)
        context.resources.reserve(
            [("vm-name", vm.name), *vm.lease.reservations(), *vm.spec.reach.reservations()],
            owner_id=vm.id,
            operation_id="",
            boot_id=context.boot_id,
        )


async def settle_names(context: Context, operations: OperationService) -> None:
    """After a start of the daemon: publish what runs, drop the names of what does not."""
    vms = context.vms.all()
    busy = {vm.id for vm in vms if operations.busy_with(vm.id) is not None}
    publications = [
        publication_of(vm)
        for vm in vms
        if vm.machine is not None and vm.lease.tap and vm.id not in busy
    ]
    try:
        await context.drivers.names.settle(publications, busy)
    except BangerError as error:
        _log.warning("names could not be brought up to date: %s: %s", error.brief, error.cause)


def prepare_folders(context: Context) -> None:
    """The folders that everything else expects."""
    paths = context.paths
    for folder in (paths.state, paths.vms, paths.images, paths.runtime, paths.cache):
        files.make_private_folder(folder)
