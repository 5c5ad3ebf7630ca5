from __future__ import annotations

import asyncio
import logging
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from banger import logs


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "bangerd.log"
    handler = logs.set_up(path)
    yield path
    logs.tear_down(handler)


def test_lines_name_time_level_and_place(log: Path) -> None:
    logging.getLogger("banger.service.power").info("started %s", "web")
    logging.getLogger("banger.service.power").debug("not at this level")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO service\.power: started web\n",
        log.read_text(),
    )
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_lines_belong_to_an_operation_and_a_vm(log: Path) -> None:
    logger = logging.getLogger("banger.x")

    async def work() -> None:
        await asyncio.sleep(0)
        logger.info("inside")

    with logs.about(op="1f", vm=""):
        with logs.about(vm="2e"):
            task = asyncio.create_task(work())
        logger.info("between")
    logger.info("outside")
    await task
    lines = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
    assert lines == ["x op=1f: between", "x: outside", "x op=1f vm=2e: inside"]


def test_an_entry_stays_together_and_harmless(log: Path) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("banger").exception("guest says \033]0;title\a")
    first, *rest = log.read_text().splitlines()
    assert first.endswith("guest says ?]0;title?")
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_old_files_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    handler = logs.set_up(tmp_path / "log")
    for number in range(200):
        logging.getLogger("banger").info("line %d", number)
    logs.tear_down(handler)
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == ["log", "log.1", "log.2", "log.3"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert all(path.stat().st_size <= 1000 for path in written)
