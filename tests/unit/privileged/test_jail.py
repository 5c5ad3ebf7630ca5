from __future__ import annotations

import threading
from pathlib import Path

import pytest

from banger.privileged import control_group, jail, jail_calls
from banger.privileged.calls import CallFailed
from banger.privileged.jail_calls import Cell
from banger.privileged.jail_inside import jailer_argv

MARK = "banger-1000-0123456789ab"


def test_the_argv_of_the_jailer() -> None:
    cell = Cell(caller=1000, uid=1_900_000_007, mark=MARK, cgroup="")
    argv = " ".join(jailer_argv(cell, "/j"))
    assert argv == (
        f"/j/programs/jailer --id {MARK} --exec-file /j/programs/firecracker"
        " --uid 1900000007 --gid 1900000007 --chroot-base-dir /j --new-pid-ns --"
        " --api-sock s/api.sock --log-path log --level Info"
    )


def test_the_limits_leave_room_for_the_guest() -> None:
    values = control_group.limits(2, 1024)
    assert int(values["memory.max"]) > 1024 << 20
    assert (values["cpu.weight"], int(values["pids.max"]) > 2) == ("200", True)
    assert control_group.limits(1000, 1)["cpu.weight"] == "10000"


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    return tmp_path


def test_a_group_is_made_with_its_limits(groups: Path) -> None:
    made = control_group.make(1000, MARK, {"pids.max": "31"}, groups)
    assert made == str(control_group.path_of(1000, MARK, groups))
    assert Path(made, "pids.max").read_text() == "31"
    for folder in (groups, groups / "banger-1000"):
        assert (folder / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_no_group_where_there_can_be_none(groups: Path) -> None:
    assert control_group.make(1000, MARK, {}, groups / "absent") == ""
    # A container's root: it has a type, and processes of its own.
    (groups / "cgroup.type").write_text("domain\n")
    (groups / "cgroup.procs").write_text("1\n")
    (groups / "cgroup.subtree_control").write_text("\n")
    assert "container" in control_group.obstacle(groups)
    assert control_group.make(1000, MARK, {}, groups) == ""
    assert not (groups / "banger-1000").exists()


def test_an_empty_group_goes_with_its_parent(tmp_path: Path) -> None:
    group = tmp_path / "banger-1000" / MARK
    group.mkdir(parents=True)
    for _ in range(2):
        control_group.remove(group)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"uid": 0, "runtime": "", "cgroup": ""}', '{"uid": "x"}', "nonsense"],
)
def test_only_whole_records_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(jail_calls, "JAILS", tmp_path)
    (tmp_path / MARK).mkdir()
    assert jail_calls.read_record(MARK) is None
    (tmp_path / MARK / "record.json").write_text(text)
    assert jail_calls.read_record(MARK) is None


def test_the_folder_of_jails_goes_with_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jails = tmp_path / "jails"
    monkeypatch.setattr(jail, "JAILS", jails)
    jail.tidy()
    assert not jails.exists()
    with jail._alone():
        (jails / MARK).mkdir()
    jail.tidy()
    assert sorted(path.name for path in jails.iterdir()) == [".lock", MARK]
    (jails / MARK).rmdir()
    jail.tidy()
    assert not jails.exists()


def test_a_lock_that_is_removed_while_others_wait_for_it_still_excludes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jails, inside, most = tmp_path / "jails", [0], [0]
    monkeypatch.setattr(jail, "JAILS", jails)

    def work() -> None:
        for _ in range(100):
            with jail._alone():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                assert jails.is_dir()
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], inside[0], jails.exists()) == (1, 0, False)


def test_a_folder_of_others_holds_no_jails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    jails = tmp_path / "jails"
    jails.symlink_to("elsewhere")
    monkeypatch.setattr(jail, "JAILS", jails)
    with pytest.raises(CallFailed, match="root's alone"), jail._alone():
        pass
    assert jails.is_symlink()
