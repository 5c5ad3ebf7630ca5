"""When a guest counts as halted: its kernel has said so, and says nothing after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from banger.drivers.vmm import console_log
from banger.drivers.vmm.firecracker import halt_watch

HALTED = b"[    9.876543] reboot: System halted\n"


async def test_the_last_word_counts_once_nothing_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halt_watch, "PAUSE", 0.03)
    monkeypatch.setattr(halt_watch, "SHORT_PAUSE", 0.02)
    console = tmp_path / "console.log"
    console.write_bytes(HALTED)  # of the boot before
    watch = asyncio.create_task(halt_watch._until_halted(console, len(HALTED)))
    for said in (b"", b"[    0.0] Linux version 6\n", HALTED + b"[   9.9] more\n", b"web login: "):
        with console.open("ab") as file:
            file.write(said)
        assert not (await asyncio.wait([watch], timeout=0.2))[0], said
    with console.open("ab") as file:
        file.write(HALTED)
    await asyncio.wait_for(watch, 20)


async def test_what_has_moved_is_looked_at_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sizes = iter([4, 4, 4, 9, 9])
    hold = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await hold(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    monkeypatch.setattr(console_log, "size_of", lambda path: next(sizes))
    with pytest.raises(RuntimeError):  # there are no more sizes
        await halt_watch._until_halted(tmp_path / "none", 0)
    quiet, moved = halt_watch.PAUSE, halt_watch.SHORT_PAUSE
    assert pauses == [moved, quiet, quiet, moved, quiet]
