from __future__ import annotations

import asyncio
from pathlib import Path

from banger.daemon.assembly import Assembly
from banger.errors import HostNotReady
from banger.service.requests import BuildRequest, CreateRequest
from tests.fakes.house import House
from tests.fakes.services import FACTS, driver_facts


async def test_the_logs_get_a_keeper_with_the_first_vm(tmp_path: Path) -> None:
    begun: list[asyncio.Event] = [asyncio.Event() for _ in range(2)]
    loop = asyncio.get_running_loop()
    times = 0

    def keep_logs() -> None:
        nonlocal times
        loop.call_soon_threadsafe(begun[times].set)
        times += 1
        raise HostNotReady("python could not be started")

    house = House(tmp_path)
    for number in range(2):
        assembly = Assembly(house.context, FACTS, driver_facts, asyncio.Event(), keep_logs)
        await assembly.start()
        services = assembly.services
        operations = services.operations
        if number == 0:
            await operations.wait((await services.images.build(BuildRequest())).id)
            request = CreateRequest(name="web", memory_mib=64)
            await operations.wait((await services.vms.create(request)).id)
            assert times == 0
            starting = await services.power.start("web", wait=True, timeout=5)
            await operations.wait(starting.id)
        # The next daemon finds it running.
        async with asyncio.timeout(10):
            await begun[number].wait()
        if number == 0:
            await assembly.end()
            house = House(tmp_path)
    await assembly.end()
    assert times == 2
