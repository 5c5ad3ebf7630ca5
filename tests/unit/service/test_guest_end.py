"""A command whose agent is lost: the end of the guest is told from every other reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from banger.drivers.guest.agent_dial import lost
from banger.drivers.guest.base import Chunk, GuestCommand
from banger.drivers.vmm.base import VMMExit
from banger.errors import VMMFailed
from banger.model.lifecycle import ExitReason
from banger.model.vm import VM
from banger.service import guest_end
from banger.service.guest_end import LastingProcess
from banger.service.requests import BuildRequest, CreateRequest
from banger.service.supervision import admit_exit
from tests.fakes.house import House
from tests.fakes.world import FakeProcess, FakeVMM


class Cut(FakeProcess):
    """Says something, and then its agent is gone; or it ends with a status of its own."""

    def __init__(self, argv: tuple[str, ...], ended: int | None = None) -> None:
        super().__init__(GuestCommand(argv))
        self.ended = ended

    async def output(self) -> AsyncIterator[Chunk]:
        yield Chunk("stdout", b"going down")
        if self.ended is None:
            raise lost("the guest, or the port to it, is gone")

    async def status(self) -> int:
        if self.ended is None:
            raise lost("the guest, or the port to it, is gone")
        return self.ended

    async def close(self) -> None:
        raise lost("the guest, or the port to it, is gone")


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(guest_end, "_ENDS_WITHIN", 0.2)
    house = await House(tmp_path).start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    created = await house.vms.create(CreateRequest(name="web", memory_mib=64))
    await house.operations.wait(created.id)
    await house.operations.wait((await house.power.start("web", wait=True, timeout=5)).id)
    return house


def cut(house: House, *argv: str, ended: int | None = None) -> LastingProcess:
    vm = house.vms.get("web")
    return LastingProcess(house.context, vm, GuestCommand(argv), Cut(argv, ended))


async def outcome(process: LastingProcess) -> tuple[bytes, int]:
    said = b"".join([chunk.data async for chunk in process.output()])
    return said, await process.status()


async def ends(house: House, monkeypatch: pytest.MonkeyPatch, reason: ExitReason) -> None:
    """The VM ends by itself while somebody waits for its command."""
    await asyncio.sleep(0)
    monkeypatch.setattr(FakeVMM, "exit_of", lambda *_: VMMExit(reason))
    vm: VM = house.vms.get("web")
    machine = vm.machine
    assert machine is not None
    await house.context.drivers.vmms["fake"].kill(machine, f"banger-{vm.id}")
    await house.operations.wait(admit_exit(house.context, house.operations, vm).id)


@pytest.mark.parametrize("reason", [ExitReason.GUEST_SHUTDOWN, ExitReason.GUEST_REBOOT])
@pytest.mark.parametrize("ended", [None, 143])
async def test_a_command_that_took_the_guest_down_has_succeeded(
    house: House, monkeypatch: pytest.MonkeyPatch, reason: ExitReason, ended: int | None
) -> None:
    waiting = asyncio.create_task(outcome(cut(house, "poweroff", ended=ended)))
    await ends(house, monkeypatch, reason)
    assert await waiting == (b"going down", 0)


@pytest.mark.parametrize(
    ("argv", "reason", "cause"),
    [
        (("make",), ExitReason.GUEST_SHUTDOWN, "its guest powered off"),
        (("make",), ExitReason.KILLED, "it was killed"),
        (("poweroff",), ExitReason.GUEST_PANIC, "its guest's kernel panicked"),
        (("reboot",), ExitReason.VMM_DIED, "its VMM ended"),
    ],
)
async def test_any_other_end_is_named(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    reason: ExitReason,
    cause: str,
) -> None:
    waiting = asyncio.create_task(outcome(cut(house, *argv)))
    await ends(house, monkeypatch, reason)
    with pytest.raises(VMMFailed, match="web stopped while the command ran") as caught:
        await waiting
    assert (caught.value.cause, caught.value.resolution) == (cause, "banger start web")


async def test_a_vm_that_is_deleted_meanwhile(house: House) -> None:
    waiting = asyncio.create_task(outcome(cut(house, "make")))
    await asyncio.sleep(0)
    await house.operations.wait((await house.power.kill("web")).id)
    await house.operations.wait((await house.vms.delete("web", force=False)).id)
    with pytest.raises(VMMFailed, match="web stopped while the command ran"):
        await waiting


async def test_an_agent_that_is_lost_alone_is_told_as_that(house: House) -> None:
    with pytest.raises(VMMFailed, match="agent of the guest cannot be reached"):
        await outcome(cut(house, "make"))


@pytest.mark.parametrize(
    ("argv", "ended"), [(("make",), 143), (("poweroff",), 1), (("poweroff",), 0)]
)
async def test_a_status_that_came_is_the_status(
    house: House, argv: tuple[str, ...], ended: int
) -> None:
    assert await outcome(cut(house, *argv, ended=ended)) == (b"going down", ended)


async def test_giving_up_a_command_whose_guest_is_gone_is_no_defect(house: House) -> None:
    await cut(house, "make").close()
