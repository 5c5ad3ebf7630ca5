"""The block of names in the hosts file: nothing else of the file is ever changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.privileged import hosts_file
from banger.privileged.calls import (
    Call,
    CallFailed,
    HostsBlockSet,
    ResolvedClear,
    ResolvedSet,
    call_from_json,
    call_to_json,
)
from banger.privileged.checks import check
from banger.privileged.execute import perform
from banger.privileged.hosts_file import owners, set_block, with_block

OTHERS = b"127.0.0.1 localhost\n\n# mine\r\n::1 ip6-localhost\n"
ENTRIES = ("10.208.0.6 db.vm", "10.208.0.2 web.vm")
BLOCK = b"# banger begin uid=7\n10.208.0.6 db.vm\n10.208.0.2 web.vm\n# banger end uid=7\n"


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "hosts"
    path.write_bytes(OTHERS)
    path.chmod(0o664)
    monkeypatch.setattr(hosts_file, "HOSTS", path)
    monkeypatch.setattr(hosts_file, "LOCK", tmp_path / "lock")
    return path


def test_the_block_comes_changes_and_goes() -> None:
    there = with_block(OTHERS, 7, ENTRIES)
    assert there == OTHERS + BLOCK
    assert with_block(there, 7, ENTRIES) == there
    assert with_block(there, 7, ENTRIES[:1]) == OTHERS + BLOCK.replace(b"10.208.0.2 web.vm\n", b"")
    assert with_block(there, 7, ()) == OTHERS
    assert with_block(b"last", 7, ENTRIES) == b"last\n" + BLOCK


def test_the_block_stays_where_it_is_and_doubles_go() -> None:
    text = b"one\n" + BLOCK + b"two\n" + BLOCK + b"three"
    assert with_block(text, 7, ENTRIES) == b"one\n" + BLOCK + b"two\nthree"


def test_another_users_block_is_left_alone() -> None:
    with pytest.raises(CallFailed, match="user 7") as caught:
        with_block(OTHERS + BLOCK, 8, ENTRIES)
    assert caught.value.reason == "foreign"
    assert owners(OTHERS + BLOCK) == {7}


@pytest.mark.parametrize(
    "text",
    [b"# banger begin uid=7\nx\n", b"x\n# banger end uid=7\n",
     b"# banger begin uid=7\n# banger begin uid=7\n# banger end uid=7\n"],
)  # fmt: skip
def test_a_block_without_an_end_is_not_guessed_at(text: bytes) -> None:
    with pytest.raises(CallFailed, match="end"):
        with_block(text, 7, ENTRIES)


@given(st.binary().filter(lambda text: b"banger" not in text))
def test_other_lines_survive(text: bytes) -> None:
    there = with_block(text, 7, ENTRIES)
    gone = with_block(there, 7, ())
    assert there.endswith(BLOCK)
    assert gone in (text, text + b"\n")


def test_the_file_keeps_owner_mode_and_attributes(hosts: Path) -> None:
    before = hosts.stat()
    set_block(7, ENTRIES)
    after = hosts.stat()
    assert hosts.read_bytes() == OTHERS + BLOCK
    assert stat.S_IMODE(after.st_mode) == 0o664
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    set_block(7, ENTRIES)
    assert hosts.stat().st_ino == after.st_ino
    set_block(7, ())
    assert hosts.read_bytes() == OTHERS
    assert {path.name for path in hosts.parent.iterdir()} == {"hosts", "lock"}


def test_a_file_with_several_names_keeps_them(hosts: Path) -> None:
    twin = hosts.with_name("twin")
    os.link(hosts, twin)
    set_block(7, ENTRIES)
    assert twin.read_bytes() == OTHERS + BLOCK
    set_block(7, ())
    assert twin.read_bytes() == OTHERS


def test_a_mounted_file_is_rewritten_in_place(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(self: Path, target: Path) -> Path:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    before = hosts.stat().st_ino
    set_block(7, ENTRIES)
    assert (hosts.read_bytes(), hosts.stat().st_ino) == (OTHERS + BLOCK, before)
    set_block(7, ())
    assert hosts.read_bytes() == OTHERS
    assert {path.name for path in hosts.parent.iterdir()} == {"hosts", "lock"}


def test_links_and_devices_are_refused(hosts: Path) -> None:
    target = hosts.with_name("target")
    hosts.rename(target)
    hosts.symlink_to(target)
    with pytest.raises(CallFailed, match="symbolic link"):
        set_block(7, ENTRIES)
    hosts.unlink()
    os.mkfifo(hosts)
    with pytest.raises(CallFailed, match="ordinary"):
        set_block(7, ENTRIES)
    assert target.read_bytes() == OTHERS


def test_perform_writes_the_callers_block(hosts: Path) -> None:
    perform([HostsBlockSet(ENTRIES)], 7)
    assert hosts.read_bytes() == OTHERS + BLOCK
    hosts.unlink()
    with pytest.raises(CallFailed, match="hosts: No such file"):
        perform([HostsBlockSet(ENTRIES)], 7)


TAP, MARK = "bgr0123456789ab", "banger:7:0123456789ab"
GOOD: tuple[Call, ...] = (
    HostsBlockSet(()),
    HostsBlockSet(ENTRIES),
    ResolvedSet(TAP, MARK, "127.0.0.153:53"),
    ResolvedClear(TAP, MARK),
)


@pytest.mark.parametrize("call", GOOD)
def test_good_calls_pass_as_json_too(call: Call) -> None:
    check(call, 7)
    assert call_from_json(call_to_json(call)) == call


@pytest.mark.parametrize(
    "call",
    [
        *[HostsBlockSet((entry,)) for entry in (
            "", "web.vm", "10.208.0.2", "10.208.0.2 web", "10.208.0.2 web.com", "10.208.0.2 a.b.vm",
            "8.8.8.8 web.vm", "127.0.0.1 web.vm", "10.208.0.2  web.vm", "10.208.0.2 web.vm x.vm",
            "10.208.0.2 web.vm\n8.8.8.8 example.org", "10.208.0.2\tweb.vm", "10.208.0.2 web.vm\n",
            "10.208.0.2 -a.vm", "10.208.0.2 WEB.vm", "fd00::2 web.vm", "010.208.0.2 web.vm",
            "10.208.0.2 # banger end uid=7", "10.208.0.2 " + "a" * 64 + ".vm", "10.208.0.2 .vm",
        )],
        HostsBlockSet(("10.208.0.2 web.vm",) * 4097),
        *[ResolvedSet(TAP, MARK, server) for server in (
            "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "8.8.8.8:53",
            "127.0.0.1:53:53", "127.0.0.1:+5", "127.0.0.1:53 1.1.1.1", "--help",
        )],
        ResolvedSet("eth0", MARK, "127.0.0.1:53"),
        ResolvedSet(TAP, "banger:8:0123456789ab", "127.0.0.1:53"),
        ResolvedClear("lo", MARK),
        ResolvedClear(TAP, ""),
    ],
)  # fmt: skip
def test_bad_calls_are_refused(call: Call, hosts: Path) -> None:
    with pytest.raises(CallFailed) as caught:
        perform([call], 7)
    assert caught.value.reason == "refused"
    assert hosts.read_bytes() == OTHERS
