"""kill -9 at every step boundary of every operation, then recovery, then the command again.

The cases are enumerated from the step registry, so a new step is covered by itself. Each
"daemon" is a forked child over the fake host, whose objects are files and outlive it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from banger.model.lifecycle import VMState
from banger.model.network import Forward, Reach
from banger.model.operation import Operation, OperationStatus
from banger.service import record
from banger.service.plans import PLANS, all_failpoints
from banger.service.requests import (
    BuildRequest,
    CreateRequest,
    CustomizeRequest,
    ImportRequest,
    SetRequest,
)
from banger.service.supervision import admit_exit
from tests.fakes.boot_files import own_files
from tests.fakes.house import House

WEB_PORT = Forward("tcp", 8080, 80)
Scenario = Callable[[House], Awaitable[Operation]]


async def _ended(house: House, operation: Operation) -> Operation:
    return await house.operations.wait(operation.id)


async def _ok(house: House, operation: Operation) -> Operation:
    ended = await _ended(house, operation)
    assert ended.status is OperationStatus.SUCCEEDED, ended.error
    return ended


async def _nothing(house: House) -> None:
    """A fresh state folder."""


async def _image(house: House) -> None:
    if house.context.images.by_name("debian") is None:
        await _ok(house, await house.images.build(BuildRequest()))


async def _stopped(house: House) -> None:
    await _image(house)
    if house.context.vms.by_name("web") is None:
        request = CreateRequest(name="web", memory_mib=64, work_disk_bytes=1 << 30)
        await _ok(house, await house.vms.create(request))


async def _running(house: House) -> None:
    await _stopped(house)
    await _ok(house, await house.power.start("web", wait=True, timeout=5))


async def _paused(house: House) -> None:
    await _running(house)
    await _ok(house, await house.power.pause("web"))


async def _exit(house: House) -> Operation:
    vm = house.vms.get("web")
    assert vm.machine is not None
    await house.context.drivers.vmms["fake"].kill(vm.machine, f"banger-1000-{vm.id}")
    return admit_exit(house.context, house.operations, house.vms.get("web"))


def _import(house: House) -> Awaitable[Operation]:
    archive = house.context.paths.cache / "box.tar"
    archive.write_text("layers")
    return house.importing.import_image(ImportRequest("box", str(archive)))


#: kind -> (state before, the command, the name to look at afterwards).
SCENARIOS: dict[str, tuple[Callable[[House], Awaitable[None]], Scenario]] = {
    "image.build": (_nothing, lambda h: h.images.build(BuildRequest())),
    "image.register": (
        _image,
        lambda h: h.own_images.register("own", own_files(h.context.paths.cache / "own")),
    ),
    "image.import": (_image, _import),
    "image.customize": (
        _image,
        lambda h: h.customizing.customize(CustomizeRequest(base="debian", docker=True)),
    ),
    "image.keep": (_stopped, lambda h: h.own_images.keep("web", "kept")),
    "image.rename": (_stopped, lambda h: h.images.rename("debian", "other")),
    "image.delete": (_image, lambda h: h.images.delete("debian")),
    "vm.create": (
        _image,
        lambda h: h.vms.create(CreateRequest(name="web", memory_mib=64, work_disk_bytes=1 << 30)),
    ),
    "vm.start": (_stopped, lambda h: h.power.start("web", wait=True, timeout=5)),
    "vm.stop": (_running, lambda h: h.power.stop("web", timeout=5)),
    "vm.kill": (_running, lambda h: h.power.kill("web")),
    "vm.exit": (_running, _exit),
    "vm.restart": (_running, lambda h: h.power.restart("web", wait=True, timeout=5)),
    "vm.pause": (_running, lambda h: h.power.pause("web")),
    "vm.resume": (_paused, lambda h: h.power.resume("web")),
    "vm.rename": (_stopped, lambda h: h.vms.rename("web", "renamed")),
    "vm.set": (
        _stopped,
        lambda h: h.change.set("web", SetRequest(4, 128, 16 << 30, 2 << 30)),
    ),
    "vm.clone": (_stopped, lambda h: h.change.clone("web", "copy")),
    "vm.rebuild": (_stopped, lambda h: h.change.rebuild("web")),
    "vm.nat": (_running, lambda h: h.connectivity.nat("web", up=True)),
    "vm.forward": (_running, lambda h: h.connectivity.publish("web", WEB_PORT)),
    "vm.delete": (_stopped, lambda h: h.vms.delete("web", force=True)),
}


def _child(work: Callable[[], Awaitable[None]]) -> int:
    """Run ``work`` in a forked child; its wait status (a signal when it was killed)."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            asyncio.run(asyncio.wait_for(work(), 20))
            status = 0
        except BaseException:  # noqa: BLE001 - the child must never return into pytest
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check_invariants(house: House) -> None:
    """What must hold whenever nothing is running."""
    context, world = house.context, house.world
    assert context.operations.all(active_only=True) == []
    vms = context.vms.all()
    running = {vm.id for vm in vms if vm.state in (VMState.RUNNING, VMState.PAUSED)}
    assert {vm.state for vm in vms} <= {
        VMState.RUNNING,
        VMState.PAUSED,
        VMState.STOPPED,
        VMState.FAILED,
    }
    objects = world.inventory()
    assert objects == {
        name
        for vm_id in running
        for name in (
            f"processes/banger-1000-{vm_id}",
            f"taps/bgr{vm_id}",
            f"rules/bgr{vm_id}",
            f"active/{vm_id}",
            f"names/{vm_id}",
        )
    }
    assert {path.name for path in context.paths.vms.iterdir()} == {vm.id for vm in vms}
    images = {image.id for image in context.images.all()}
    assert {path.name for path in context.paths.images.iterdir()} == images
    for image in context.images.all():
        assert record.read_image(context.paths.image_record(image.id)) == image
    assert context.resources.held("image-build") == set()
    for vm in vms:
        if vm.id in running:
            rules = msgspec.json.decode(
                (world.root / "rules" / vm.lease.tap).read_bytes(), type=Reach
            )
            assert rules == vm.spec.reach
        assert context.resources.holder("vm-name", vm.name) == vm.id
        assert record.read_vm(context.paths.vm_record(vm.id)) == vm
        assert vm.spec.image_name in {image.name for image in context.images.all()}
    assert context.resources.held("vm-name") == {vm.name for vm in vms}
    ports = {port for vm in vms for _, port in vm.spec.reach.reservations()}
    assert context.resources.held("port") == ports
    assert context.resources.held("address") == {vm.lease.address for vm in vms}
    assert not any(context.paths.scratch.glob("*"))


def test_every_kind_has_a_scenario() -> None:
    assert set(SCENARIOS) == set(PLANS)


@pytest.mark.parametrize("failpoint", [p for p in all_failpoints() if ".undo." not in p])
def test_killed_at(failpoint: str, tmp_path: Path) -> None:
    kind = ".".join(failpoint.split(".")[:2])
    before, command = SCENARIOS[kind]

    async def prepare() -> None:
        await before(await House(tmp_path).start())

    async def die() -> None:
        house = await House(tmp_path, failpoints=(f"{failpoint}=kill",)).start()
        await _ended(house, await command(house))

    async def recover() -> None:
        house = await House(tmp_path).start()
        await asyncio.wait_for(house.operations.idle(), 5)
        check_invariants(house)

    async def repeat() -> None:
        house = await House(tmp_path).start()
        if _done_already(house, kind):
            return
        await _ok(house, await command(house))
        check_invariants(house)

    assert _child(prepare) == 0
    assert _child(die) == -signal.SIGKILL, "the failpoint was not reached"
    assert _child(recover) == 0
    assert _child(repeat) == 0


@pytest.mark.parametrize("failpoint", [p for p in all_failpoints() if ".undo." in p])
def test_killed_while_undoing(failpoint: str, tmp_path: Path) -> None:
    """An error at the very end of the plan sets off the undo, which is then killed."""
    kind = ".".join(failpoint.split(".")[:2])
    before, command = SCENARIOS[kind]
    last = PLANS[kind].step_types[-1].name

    async def prepare() -> None:
        await before(await House(tmp_path).start())

    async def die() -> None:
        points = (f"{kind}.{last}.after=error", f"{failpoint}=kill")
        house = await House(tmp_path, failpoints=points).start()
        await _ended(house, await command(house))

    async def recover() -> None:
        house = await House(tmp_path).start()
        await asyncio.wait_for(house.operations.idle(), 5)
        check_invariants(house)

    assert _child(prepare) == 0
    assert _child(die) == -signal.SIGKILL, "the failpoint was not reached"
    assert _child(recover) == 0


def _done_already(house: House, kind: str) -> bool:
    """Whether recovery went forward, so that the command has nothing left to do."""
    vm = house.context.vms.by_name("web")
    image = house.context.images.by_name("debian")
    return {
        "image.build": image is not None,
        "image.delete": image is None,
        "image.register": house.context.images.by_name("own") is not None,
        "image.import": house.context.images.by_name("box") is not None,
        "image.customize": house.context.images.by_name("docker-debian") is not None,
        "image.keep": house.context.images.by_name("kept") is not None,
        "image.rename": house.context.images.by_name("other") is not None,
        "vm.create": vm is not None,
        "vm.start": vm is not None and vm.state is VMState.RUNNING,
        "vm.stop": vm is not None and vm.state is VMState.STOPPED,
        "vm.kill": vm is not None and vm.state is VMState.STOPPED,
        "vm.exit": vm is not None and vm.state is VMState.STOPPED,
        "vm.restart": False,
        "vm.pause": vm is not None and vm.state is VMState.PAUSED,
        "vm.resume": vm is not None and vm.state is VMState.RUNNING,
        "vm.rename": house.context.vms.by_name("renamed") is not None,
        "vm.set": False,
        "vm.clone": house.context.vms.by_name("copy") is not None,
        "vm.rebuild": False,
        "vm.nat": vm is not None and vm.spec.reach.internet,
        "vm.forward": vm is not None and WEB_PORT in vm.spec.reach.forwards,
        "vm.delete": vm is None,
    }[kind]
