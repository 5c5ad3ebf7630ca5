from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from banger.errors import Conflict, HostNotReady, PermissionRefused
from banger.host import sudo
from banger.host.privilege import Privilege, explain
from banger.privileged import execute
from banger.privileged.calls import CallFailed, SnapshotDetach, SnapshotProbe, TapFacts

ID = "0123456789ab"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "program"
    path.touch()
    yield path
    Privilege._snapshots.pop(path, None)
    Privilege._answered.pop(path, None)


def test_snapshots_are_asked_for_once(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def perform(batch: list[object], uid: int) -> list[TapFacts]:
        asked.extend(batch)
        return [TapFacts("snapshot", 1, "device-mapper 4.47.0")]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(execute, "perform", perform)
    for _ in range(2):
        assert Privilege(program).probe_snapshots() == ("", "device-mapper 4.47.0")
    assert asked == [SnapshotProbe()]


def test_who_asks_at_the_same_time_gets_one_answer(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def ask(program: Path, *, timeout: float) -> dict[str, object]:
        asked.append(program)
        time.sleep(0.2)
        return {"version": 1, "results": []}

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sudo, "ask", ask)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: Privilege(program).obstacle(), range(4)))
    assert answers == [""] * 4
    assert asked == [program]


def test_a_kernel_without_them_is_evidence_too(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def perform(batch: list[object], uid: int) -> list[TapFacts]:
        raise CallFailed("failed", "this kernel has no device-mapper")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(execute, "perform", perform)
    assert Privilege(program).probe_snapshots() == ("this kernel has no device-mapper", "")


def test_snapshots_that_come_later_are_noticed(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    clock = [1000.0]

    def perform(batch: list[object], uid: int) -> list[TapFacts]:
        if not found:
            raise CallFailed("failed", "this kernel has no device-mapper")
        return [TapFacts("snapshot", 1, found[0])]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(execute, "perform", perform)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    none = ("this kernel has no device-mapper", "")
    assert Privilege(program).probe_snapshots() == none
    found.append("device-mapper 4.47.0")
    assert Privilege(program).probe_snapshots() == none
    clock[0] += 60
    assert Privilege(program).probe_snapshots() == ("", "device-mapper 4.47.0")


def test_a_root_side_that_setup_installed_anew_is_asked_anew(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["device-mapper 4.48.0", "device-mapper 4.47.0"]

    def perform(asked: Path, batch: list[object], **_: object) -> list[TapFacts]:
        return [TapFacts("snapshot", 1, answers.pop())]

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sudo, "ask", lambda program, timeout: {"results": []})
    monkeypatch.setattr(sudo, "perform", perform)
    for _ in range(2):
        assert Privilege(program).probe_snapshots() == ("", "device-mapper 4.47.0")
    os.utime(program, ns=(1, 1))
    assert Privilege(program).probe_snapshots() == ("", "device-mapper 4.48.0")


def test_an_ordinary_user_asks_through_sudo(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def perform(asked: Path, batch: list[object], **_: object) -> list[TapFacts]:
        assert asked == program
        return [TapFacts("snapshot", 1, "device-mapper 4.47.0")]

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sudo, "ask", lambda program, timeout: {"results": []})
    monkeypatch.setattr(sudo, "perform", perform)
    assert Privilege(program).probe_snapshots() == ("", "device-mapper 4.47.0")


def test_without_the_root_side_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    obstacle, evidence = Privilege(tmp_path / "none").probe_snapshots()
    assert "no root side" in obstacle
    assert not evidence


async def test_a_drive_without_root_names_another_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionRefused) as caught:
        await Privilege(tmp_path / "none").call([SnapshotDetach(ID)])
    assert "--storage qcow2" in caught.value.resolution


def test_failures_of_drives_are_told_from_those_of_interfaces() -> None:
    foreign = CallFailed("foreign", "banger-0-x exists")
    assert "root drive" in explain(foreign, storage=True).brief
    assert "interface" in explain(foreign).brief
    assert isinstance(explain(foreign, storage=True), Conflict)
    refused = explain(CallFailed("refused", "it has 2 names"), storage=True)
    assert isinstance(refused, HostNotReady)
    assert "2 names" in refused.cause
