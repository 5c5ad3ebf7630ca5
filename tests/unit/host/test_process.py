from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.errors import HostNotReady
from banger.host import process
from banger.host.spawn import spawn_detached
from tests.requirements import needs

DEVNULL = -3
MARK = "banger-77-0123456789ab"


@pytest.fixture
def child() -> Iterator[int]:
    pid = spawn_detached(
        ["/bin/sh", "-c", "read line", f"name={MARK},debug=on"],
        env={"PATH": "/usr/bin:/bin"},
        stdin=_open_pipe(),
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    yield pid
    ticks = process.start_ticks(pid)
    if ticks is not None:
        process.kill_exact(pid, ticks, signal.SIGKILL)
        assert process.wait_gone_blocking(pid, ticks, 5)


_pipes: list[int] = []


def _open_pipe() -> int:
    """An end of a pipe whose other end stays open in this process."""
    reader, writer = os.pipe()
    _pipes.extend((reader, writer))
    return reader


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.01)


async def test_a_process_is_identified(child: int) -> None:
    # While it becomes another program it has none of that one's arguments yet.
    await asyncio.to_thread(
        until, lambda: process.executable_of(child) != sys.executable and process.argv_of(child)
    )
    assert process.argv_of(child)[-1] == f"name={MARK},debug=on"
    assert process.start_ticks(child)
    assert Path(process.executable_of(child)).exists()
    assert os.getsid(child) == child
    assert process.find_by_argument(MARK) == [child]
    assert process.find_by_argument(MARK, {1, os.getuid()}) == [child]
    assert process.find_by_argument(MARK, {54321}) == []
    assert process.find_by_argument(MARK[:-1]) == []


async def test_only_the_exact_process_is_killed(child: int) -> None:
    ticks = process.start_ticks(child)
    assert ticks is not None
    assert not process.kill_exact(child, ticks + 1, signal.SIGKILL)
    assert not process.wait_gone_blocking(child, ticks, 0.05)
    waiting = asyncio.create_task(process.wait_gone(child, ticks))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert process.kill_exact(child, ticks, signal.SIGKILL)
    await asyncio.wait_for(waiting, 5)
    assert process.start_ticks(child) is None
    assert not Path(f"/proc/{child}").exists(), "the dead child was not reaped"
    assert not process.kill_exact(child, ticks, signal.SIGKILL)
    await asyncio.wait_for(process.wait_gone(child, ticks), 5)
    with pytest.raises(ProcessLookupError):
        process.open_pidfd(child)


async def test_a_zombie_is_gone(child: int) -> None:
    ticks = process.start_ticks(child)
    assert ticks is not None
    process.kill_exact(child, ticks, signal.SIGKILL)
    await asyncio.to_thread(until, lambda: process.start_ticks(child) is None)
    assert Path(f"/proc/{child}").exists()
    await asyncio.wait_for(process.wait_gone(child, ticks), 5)
    assert not Path(f"/proc/{child}").exists()


def test_nothing_is_known_of_an_absent_process() -> None:
    absent = 2**22 + 1  # above the kernel's limit for pids
    assert process.start_ticks(absent) is None
    assert process.executable_of(absent) == ""
    assert process.argv_of(absent) == []


def test_boot_id_is_a_uuid() -> None:
    assert len(process.boot_id()) == 36


@given(st.text(max_size=20), st.integers(0, 2**40))
def test_odd_process_names_do_not_confuse(name: str, ticks: int) -> None:
    stat = f"12 ({name}) S 1 " + " ".join(["0"] * 17) + f" {ticks} 5 6\n"
    assert process.parse_start_ticks(stat) == ticks
    assert process.parse_start_ticks(stat.replace(") S 1 ", ") Z 1 ")) is None


@given(st.text())
def test_odd_stat_files_are_read_as_gone(text: str) -> None:
    process.parse_start_ticks(text)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (MARK, True),
        (f"{MARK},process={MARK}", True),
        (f"guest={MARK}", True),
        (f"{MARK}c", False),
        (f"x{MARK}", False),
        (f"{MARK}-2", False),
        ("", False),
    ],
)
def test_marks_are_whole_words(argument: str, expected: bool) -> None:
    assert process.carries_mark(["qemu", argument], MARK) is expected


def test_a_missing_executable_is_explained() -> None:
    with pytest.raises(HostNotReady, match="/nonexistent/vmm could not be started"):
        spawn_detached(["/nonexistent/vmm"], env={}, stdin=-3, stdout=-3, stderr=-3)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change the user")
async def test_a_child_can_run_as_somebody_else(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    script = "id -u; id -g; id -G; test -e /proc/self/fd/$0 && echo open"
    extra = os.dup(writer)
    try:
        pid = spawn_detached(
            ["/bin/sh", "-c", script, str(extra)],
            env={"PATH": "/usr/bin:/bin"},
            stdin=DEVNULL,
            stdout=writer,
            stderr=writer,
            pass_fds=(extra,),
            run_as=(65534, 65533),
            extra_groups=(12,),
        )
    finally:
        os.close(writer)
        os.close(extra)
    with os.fdopen(reader) as file:
        assert file.read().split("\n")[:4] == ["65534", "65533", "65533 12", "open"]
    await asyncio.wait_for(process.wait_gone(pid, process.start_ticks(pid) or 0), 5)


@needs("root")
def test_another_user_runs_the_program_with_just_these_groups() -> None:
    reader = _open_pipe()
    pid = spawn_detached(
        ["/bin/sh", "-c", "read line", MARK],
        env={"PATH": "/usr/bin:/bin"},
        stdin=reader,
        stdout=DEVNULL,
        stderr=DEVNULL,
        run_as=(65534, 65534),
        extra_groups=(7, 9),
    )
    # Nothing of the way there is seen any more.
    assert process.executable_of(pid) == str(Path("/bin/sh").resolve())
    assert process.argv_of(pid)[-1] == MARK
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.findall(r"^(?:Uid|Gid|Groups):\s*(.*?)\s*$", status, re.MULTILINE) == [
        "65534\t65534\t65534\t65534",
        "65534\t65534\t65534\t65534",
        "7 9",
    ]
    assert re.findall(r"^Cap(?:Prm|Eff|Amb):\s*(.*)$", status, re.MULTILINE) == ["0" * 16] * 3
    ticks = process.start_ticks(pid)
    assert ticks
    assert process.kill_exact(pid, ticks, signal.SIGKILL)
    assert process.wait_gone_blocking(pid, ticks, 5)
