from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from banger.drivers.image import workspace
from banger.errors import BangerError, HostNotReady

ROOM = workspace.ROOM_BYTES


@pytest.mark.parametrize(
    ("free", "available_mib", "flags", "fits"),
    [
        (ROOM, 8192, 0, True),
        (ROOM, 8192, os.ST_NOSUID | os.ST_NODEV, True),
        (ROOM - 1, 8192, 0, False),
        # A tmpfs may promise more than the memory holds.
        (ROOM * 10, 2500, 0, False),
        (ROOM, 8192, os.ST_NOEXEC, False),
    ],
)
def test_memory_is_used_only_where_it_suffices(
    free: int, available_mib: int, flags: int, fits: bool
) -> None:
    assert workspace.fits_into_memory(free, available_mib, flags) is fits


def test_each_build_has_its_own_mark() -> None:
    one, other = workspace.mark(Path("/s/a")), workspace.mark(Path("/s/b"))
    assert one != other
    assert one.startswith(f"banger-image-{os.geteuid()}-")


async def test_made_once_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_MEMORY", tmp_path / "memory")
    monkeypatch.setattr(workspace, "ROOM_BYTES", 1)
    path = workspace.make(tmp_path, is_root=True)
    assert path.is_relative_to(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o711
    with pytest.raises(BangerError):
        workspace.make(tmp_path, is_root=True)
    await workspace.remove(tmp_path, ())
    assert not path.exists()
    await workspace.remove(tmp_path, ())


def test_no_room_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_MEMORY", tmp_path / "memory")
    monkeypatch.setattr(workspace, "ROOM_BYTES", 1 << 60)
    with pytest.raises(HostNotReady):
        workspace.make(tmp_path, is_root=True)


def test_what_a_dead_build_runs_is_ended_and_nothing_else(tmp_path: Path) -> None:
    code = "import time; time.sleep(60)"
    marked = f"{tmp_path}/{workspace.mark(tmp_path)}/base.tar"
    ours = subprocess.Popen([sys.executable, "-c", code, marked], start_new_session=True)
    theirs = subprocess.Popen([sys.executable, "-c", code, "other"], start_new_session=True)
    try:
        asyncio.run(workspace.end_leftovers(tmp_path))
        assert ours.poll() is not None or ours.wait(5) == -9
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()
