"""The services over the fake world as the API sees them, and a bangerd made of them.

``python -m tests.fakes.services FOLDER`` is a real bangerd in all but its drivers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from banger.build import build_id
from banger.daemon import main, wiring
from banger.daemon.application import Application
from banger.daemon.assembly import Assembly
from banger.daemon.ports import DaemonFacts, DriverFact, DriverFacts
from banger.paths import Paths
from banger.settings import Settings
from tests.fakes.house import House

FACTS = DaemonFacts(
    version="1.2.3",
    build="build-1",
    pid=4711,
    uid=1000,
    socket="/run/banger/bangerd.sock",
    database="/state/banger.db",
    log="/state/bangerd.log",
    started_at=1_700_000_000.0,
    boot_id="boot-1",
)


async def driver_facts() -> DriverFacts:
    """What ``/v1/daemon`` says of the fake drivers."""
    return DriverFacts(
        vmm=DriverFact("fake", "it is the only one", "fake", "1"),
        storage=DriverFact("fake", "it is the only one"),
        network=DriverFact("tap", "it is the only one"),
    )


def assemble(house: House, stopping: asyncio.Event, facts: DaemonFacts = FACTS) -> Assembly:
    """The daemon's services over a fake house."""
    return Assembly(house.context, facts, driver_facts, stopping, lambda: None)


@contextlib.asynccontextmanager
async def running(
    root: Path, *failpoints: str
) -> AsyncIterator[tuple[House, Assembly, Application]]:
    """A started house and the application over it."""
    house = House(root, failpoints=failpoints)
    assembly = assemble(house, asyncio.Event())
    await assembly.start()
    try:
        yield house, assembly, Application(assembly.services)
    finally:
        await assembly.end()


def _build(paths: Paths, settings: Settings, stopping: asyncio.Event) -> Assembly:
    facts = DaemonFacts(
        version="1.2.3",
        build=build_id(),
        pid=os.getpid(),
        uid=os.geteuid(),
        socket=str(paths.socket),
        database=str(paths.database),
        log=str(paths.daemon_log),
        started_at=0.0,
        boot_id="boot-1",
    )
    house = House(Path(sys.argv[1]), failpoints=settings.failpoints)
    return assemble(house, stopping, facts)


if __name__ == "__main__":
    wiring.build = _build
    sys.exit(main.main([]))
