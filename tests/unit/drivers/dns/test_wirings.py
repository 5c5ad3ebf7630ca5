"""What each wiring asks the root side for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from banger.drivers.dns.base import Wanted
from banger.drivers.dns.hosts_file import HostsFile, entries_of
from banger.drivers.dns.resolved import Resolved, plan
from banger.drivers.dns.unwired import Unwired
from banger.errors import Conflict, HostNotReady
from banger.host import resolver
from banger.host.privilege import Privilege
from banger.privileged import hosts_file
from banger.privileged.calls import Call, HostsBlockSet, ResolvedClear, ResolvedSet, TapFacts
from banger.privileged.checks import MAX_ENTRIES, check

WEB, DB = "0123456789ab", "abcdef012345"
LINKS = {WEB: f"bgr{WEB}", DB: f"bgr{DB}"}
SERVER = "127.0.0.153:53"


class Asked(Privilege):
    """A root side that keeps what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def call(self, batch: Sequence[Call]) -> list[TapFacts]:
        for call in batch:
            check(call, 7)
        self.calls += batch
        return []


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    monkeypatch.setattr(hosts_file, "HOSTS", path)
    return path


async def test_the_hosts_file_gets_what_the_root_side_takes(hosts: Path) -> None:
    asked = Asked()
    wiring = HostsFile(asked, 7)
    table = {"web.vm": "10.208.0.2", "a.vm": "192.168.0.1", "b.vm": "fd00::1", "c.vm": "8.8.8.8"}
    await wiring.wire(Wanted(table, LINKS, SERVER))
    assert asked.calls == [HostsBlockSet(("192.168.0.1 a.vm", "10.208.0.2 web.vm"))]


async def test_without_vms_our_block_goes_and_only_then(hosts: Path) -> None:
    asked = Asked()
    wiring = HostsFile(asked, 7)
    nothing = Wanted({"printer.vm": "192.168.0.1"}, {}, SERVER)
    await wiring.wire(nothing)
    assert (asked.calls, wiring.leftover()) == ([], False)
    hosts.write_text("# banger begin uid=7\n# banger end uid=7\n")
    assert wiring.leftover()
    await wiring.wire(nothing)
    assert asked.calls == [HostsBlockSet(())]


async def test_a_second_user_is_told(hosts: Path) -> None:
    hosts.write_text("# banger begin uid=8\n10.0.0.2 x.vm\n# banger end uid=8\n")
    asked = Asked()
    with pytest.raises(Conflict, match="cannot be wired") as caught:
        await HostsFile(asked, 7).wire(Wanted({"web.vm": "10.208.0.2"}, LINKS, SERVER))
    assert "user 8" in caught.value.cause
    assert asked.calls == []


async def test_a_missing_hosts_file_holds_nobody(hosts: Path) -> None:
    hosts.unlink()
    assert not HostsFile(Asked(), 7).leftover()


def test_entries_are_bounded() -> None:
    many = {f"vm-{n}.vm": "10.0.0.2" for n in range(MAX_ENTRIES + 9)}
    assert len(entries_of(many)) == MAX_ENTRIES


def mark(vm_id: str) -> str:
    return f"banger:7:{vm_id}"


async def test_resolved_is_told_once_and_moves_with_the_links() -> None:
    asked = Asked()
    wiring = Resolved(asked, 7)
    await wiring.wire(Wanted({}, LINKS, SERVER))
    await wiring.wire(Wanted({}, LINKS, SERVER))
    assert asked.calls == [ResolvedSet(LINKS[WEB], mark(WEB), SERVER)]
    await wiring.wire(Wanted({}, {DB: LINKS[DB]}, SERVER))
    assert asked.calls[1:] == [ResolvedSet(LINKS[DB], mark(DB), SERVER)]
    await wiring.wire(Wanted({}, {}, SERVER))
    assert len(asked.calls) == 2
    assert not wiring.leftover()


def test_resolved_follows_the_server_and_is_cleared_without_one() -> None:
    told = (WEB, LINKS[WEB], SERVER)
    calls, now = plan(told, Wanted({}, LINKS, "127.0.0.153:5353"), 7)
    assert calls == [ResolvedSet(LINKS[WEB], mark(WEB), "127.0.0.153:5353")]
    assert now == (WEB, LINKS[WEB], "127.0.0.153:5353")
    assert plan(told, Wanted({}, LINKS, ""), 7) == (
        [ResolvedClear(LINKS[WEB], mark(WEB))],
        ("", "", ""),
    )


async def test_unwired_says_why() -> None:
    wiring = Unwired("there is no root side")
    await wiring.wire(Wanted({}, {}, SERVER))
    with pytest.raises(HostNotReady) as caught:
        await wiring.wire(Wanted({}, LINKS, SERVER))
    assert caught.value.cause == "there is no root side"


@pytest.mark.parametrize(
    ("wanted", "resolved", "privileged", "others", "expected"),
    [
        ("auto", True, True, [], "resolved"),
        ("auto", False, True, [], "hosts"),
        ("auto", False, True, [8], "hosts"),
        ("hosts", True, True, [], "hosts"),
        ("resolved", False, True, [], "resolved"),
        ("auto", True, False, [], ""),
        ("off", True, True, [], ""),
    ],
)
def test_the_choice(
    wanted: str, resolved: bool, privileged: bool, others: list[int], expected: str
) -> None:
    chosen = resolver.choose(wanted, resolved=resolved, privileged=privileged, others=others)
    assert chosen.name == expected
    assert chosen.reason
    if others:
        assert "user 8" in chosen.reason


@pytest.mark.parametrize(
    ("nsswitch", "resolv_conf", "expected"),
    [
        ("hosts: files resolve [!UNAVAIL=return] dns\n", "nameserver 192.0.2.1\n", True),
        ("hosts: files dns\n", "nameserver 127.0.0.53\n", True),
        ("hosts: files dns\n", "# x\nnameserver 192.0.2.1\n", False),
        ("", "", False),
    ],
)
def test_who_asks_resolved(nsswitch: str, resolv_conf: str, expected: bool) -> None:
    assert resolver.asks_resolved(nsswitch, resolv_conf) is expected


def test_doctor_tells_the_truth(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "resolved_is_asked", lambda: False)
    monkeypatch.setattr(Privilege, "available", lambda self: True)
    assert resolver.names_check("auto", 7).status == "ok"
    hosts.write_text("# banger begin uid=8\n# banger end uid=8\n")
    taken = resolver.names_check("auto", 7)
    assert (taken.status, "user 8" in taken.found) == ("warn", True)
    assert resolver.names_check("off", 7).status == "warn"
    monkeypatch.setattr(Privilege, "available", lambda self: False)
    without = resolver.names_check("auto", 7)
    assert (without.status, "root" in without.found) == ("warn", True)
    assert without.resolution
