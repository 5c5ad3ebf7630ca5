"""Publishing over real records and sockets, with a wiring that only writes down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import dnslib
import pytest

from banger.drivers.dns import listening, mapdns
from banger.drivers.dns.base import Publication, ResolverWiring, Wanted
from banger.drivers.dns.mapdns import MapdnsNames
from banger.drivers.dns.unwired import Unwired
from banger.errors import Conflict, HostNotReady, InvalidInput
from banger.mapdns.records import Record, Records
from banger.model.network import Lease

WEB = Publication("0123456789ab", "web", "10.208.0.2", "10.208.0.1")
DB = Publication("abcdef012345", "db", "10.208.0.6", "10.208.0.5")
MARK = "banger:7:0123456789ab"


class Notes:
    """A wiring that keeps what it was told."""

    name = "notes"

    def __init__(self) -> None:
        self.told: list[Wanted] = []
        self.fails = False
        self.left = False
        self.seconds = 0.0

    async def wire(self, wanted: Wanted) -> None:
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise HostNotReady("no", cause="the resolver is away")
        self.told.append(wanted)

    def leftover(self) -> bool:
        return self.left


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "mapdns" / "records.json")


@pytest.fixture
def wiring(monkeypatch: pytest.MonkeyPatch) -> Notes:
    monkeypatch.setattr(listening, "PORT", 0)
    return Notes()


@pytest.fixture
async def names(records: Records, wiring: Notes) -> AsyncIterator[MapdnsNames]:
    names = MapdnsNames(records, lambda: wiring, 7)
    yield names
    await names.close()


async def test_a_name_is_published_served_wired_and_withdrawn(
    names: MapdnsNames, records: Records, wiring: Notes
) -> None:
    assert names.status().server == ""
    await names.publish(WEB)
    assert records.read() == {"web.vm": Record(("10.208.0.2",), MARK)}
    assert names.list() == {"web.vm": "10.208.0.2"}
    assert names.dns_name(WEB.vm_id) == "web.vm"
    status = names.status()
    assert (status.wired, status.problem) == ("notes", "")
    assert wiring.told == [
        Wanted({"web.vm": "10.208.0.2"}, {WEB.vm_id: "bgr0123456789ab"}, status.server)
    ]
    host, port = status.server.split(":")
    query = dnslib.DNSRecord.question("web.vm")
    answer = await asyncio.to_thread(query.send, host, int(port), timeout=5)
    assert str(dnslib.DNSRecord.parse(answer).rr[0].rdata) == "10.208.0.2"
    await names.withdraw(WEB.vm_id)
    await names.withdraw(WEB.vm_id)
    assert records.read() == {}
    assert names.dns_name(WEB.vm_id) == ""
    assert wiring.told[1:] == [Wanted({}, {}, status.server)]


async def test_publishing_again_changes_nothing(names: MapdnsNames, records: Records) -> None:
    await names.publish(WEB)
    before = records.stamp()
    await names.publish(WEB)
    assert records.stamp() == before
    await names.publish(Publication(WEB.vm_id, "other", WEB.address, WEB.gateway))
    assert list(records.read()) == ["other.vm"]


async def test_what_a_person_has_set_is_theirs(names: MapdnsNames, records: Records) -> None:
    records.set("web", ["192.168.1.9"])
    with pytest.raises(Conflict) as caught:
        await names.publish(WEB)
    assert "mapdns rm web.vm" in caught.value.resolution
    assert "192.168.1.9 by hand" in names.obstacle(WEB.vm_id)
    await names.withdraw(WEB.vm_id)
    assert names.obstacle(WEB.vm_id) == ""
    assert records.read() == {"web.vm": Record(("192.168.1.9",))}
    assert names.list() == {}


async def test_a_vm_name_that_is_no_dns_name(names: MapdnsNames) -> None:
    for name in ("web-", "x" * 64):
        with pytest.raises(InvalidInput):
            await names.publish(Publication(WEB.vm_id, name, WEB.address, WEB.gateway))


async def test_without_a_resolver_names_are_served_only(names: MapdnsNames, wiring: Notes) -> None:
    wiring.fails = True
    await names.publish(WEB)
    assert names.dns_name(WEB.vm_id) == ""
    status = names.status()
    assert (status.wired, status.problem) == ("", "the resolver is away")
    assert status.server
    assert names.obstacle(WEB.vm_id) == "the resolver is away"
    wiring.fails = False
    await names.publish(DB)
    assert names.dns_name(WEB.vm_id) == "web.vm"


async def test_what_an_earlier_daemon_recorded_is_withdrawn_too(
    names: MapdnsNames, records: Records, wiring: Notes
) -> None:
    records.set("web", ["10.208.0.2"], MARK)
    await names.withdraw(WEB.vm_id)
    assert records.read() == {}
    assert wiring.told == [Wanted({}, {}, "")]


async def test_a_host_that_gets_a_root_side_is_wired_without_a_new_daemon(
    records: Records, wiring: Notes
) -> None:
    found: list[ResolverWiring] = [Unwired(""), Unwired("no root side"), wiring]
    names = MapdnsNames(records, lambda: found.pop(0), 7)
    for obstacle, full in (("", ""), ("no root side", ""), ("", "web.vm")):
        await names.publish(WEB)
        assert (names.obstacle(WEB.vm_id), names.dns_name(WEB.vm_id)) == (obstacle, full)
    await names.publish(WEB)
    await names.close()


async def test_many_at_once_share_the_wiring(names: MapdnsNames, wiring: Notes) -> None:
    many = [
        Publication(f"{n:012x}", f"vm-{n}", f"10.208.{n}.2", f"10.208.{n}.1") for n in range(40)
    ]
    wiring.seconds = 0.02
    await asyncio.gather(*(names.publish(each) for each in many))
    assert len(names.list()) == 40
    assert len(wiring.told[-1].table) == 40
    assert len(wiring.told) < 40
    await asyncio.gather(*(names.withdraw(each.vm_id) for each in many))
    assert wiring.told[-1].table == {}


async def test_the_next_daemon_settles(records: Records, wiring: Notes) -> None:
    first = MapdnsNames(records, lambda: wiring, 7)
    await first.publish(WEB)
    await first.publish(DB)
    await first.publish(Publication("00000000beef", "busy", "10.208.0.10", "10.208.0.9"))
    records.set("printer", ["192.168.1.9"])
    records.set("theirs", ["10.208.9.2"], "banger:8:0123456789ab")
    await first.close()
    second = MapdnsNames(records, lambda: wiring, 7)
    await second.settle([WEB], {"00000000beef"})
    assert set(records.read()) == {"web.vm", "busy.vm", "printer.vm", "theirs.vm"}
    assert second.dns_name(WEB.vm_id) == "web.vm"
    assert second.dns_name(DB.vm_id) == ""
    await second.close()
    third = MapdnsNames(records, lambda: wiring, 7)
    wiring.left = True
    await third.settle([], set())
    assert set(records.read()) == {"printer.vm", "theirs.vm"}
    assert wiring.told[-1].links == {}
    await third.close()


async def test_settling_respects_what_was_set_meanwhile(
    names: MapdnsNames, records: Records
) -> None:
    records.set("web", ["192.168.1.9"])
    await names.settle([WEB, DB], set())
    assert "taken" in names.obstacle(WEB.vm_id)
    assert names.list() == {"db.vm": "10.208.0.6"}


async def test_nothing_is_touched_where_nothing_was(names: MapdnsNames, records: Records) -> None:
    await names.settle([], set())
    await names.withdraw(WEB.vm_id)
    assert not records.path.parent.exists()
    assert names.status().server == ""


async def test_what_mapdns_sets_meanwhile_is_wired_too(
    names: MapdnsNames, records: Records, wiring: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapdns, "WATCH_SECONDS", 0.02)
    await names.publish(WEB)
    records.set("printer", ["192.168.1.9"])
    async with asyncio.timeout(5):
        while "printer.vm" not in wiring.told[-1].table:  # noqa: ASYNC110 - as a user
            await asyncio.sleep(0.01)


def lease(**changes: object) -> Lease:
    values = {
        "kind": "tap", "mac": "02:00:00:00:00:01", "address": "10.208.0.2", "prefix_length": 30,
        "gateway": "10.208.0.1", "tap": "bgr0123456789ab", "ssh_host": "10.208.0.2",
        "ssh_port": 22, "nameservers": ("192.0.2.1", "192.0.2.2", "192.0.2.3"),
    }  # fmt: skip
    return Lease(**(values | changes))  # type: ignore[arg-type]


async def test_guests_ask_us_first_while_we_listen_for_them(names: MapdnsNames) -> None:
    assert names.nameservers(lease()) == lease().nameservers
    await names.listen(lease(), WEB.vm_id)
    assert names.nameservers(lease()) == ("10.208.0.1", "192.0.2.1", "192.0.2.2")
    assert names.nameservers(lease(tap="")) == lease().nameservers
    assert await names.listen(lease(tap=""), DB.vm_id) == 0
    await names.publish(WEB)
    assert names.nameservers(lease())[0] == WEB.gateway
    await names.withdraw(WEB.vm_id)
    assert names.nameservers(lease()) == lease().nameservers


async def test_who_may_not_have_port_53_says_where_it_listens(
    names: MapdnsNames, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_has_port", lambda: False)
    assert await names.listen(lease(), WEB.vm_id) == listening.GUEST_PORT
    assert await names.listen(lease(), WEB.vm_id) == listening.GUEST_PORT
    # The port is taken now: whoever comes second gets another.
    second = MapdnsNames(records, Notes, 7)
    port = await second.listen(lease(), WEB.vm_id)
    assert port not in (0, listening.GUEST_PORT)
    await second.close()


async def test_what_was_only_listened_for_ends_with_the_vm(
    names: MapdnsNames, wiring: Notes
) -> None:
    await names.listen(lease(), WEB.vm_id)
    assert names.status().server == ""
    await names.withdraw(WEB.vm_id)
    assert names.nameservers(lease()) == lease().nameservers
    assert wiring.told == []


async def test_names_published_at_once_share_rounds_and_each_has_its_own_fate(
    names: MapdnsNames, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, change = [], records.change

    def counted(edit: mapdns.Edit, *, lasting: bool) -> dict[str, Record]:
        rounds.append(edit)
        return change(edit, lasting=lasting)

    monkeypatch.setattr(records, "change", counted)
    taken = Publication("ffffffffffff", "web", "10.208.0.10", "10.208.0.9")
    publications = [WEB, taken, DB]
    publications += [
        Publication(f"{number:012x}", f"vm{number}", f"10.209.0.{number}", "10.209.0.1")
        for number in range(20)
    ]
    told = await asyncio.gather(*map(names.publish, publications), return_exceptions=True)
    assert [type(each) for each in told] == [type(None), Conflict, *[type(None)] * 21]
    assert len(rounds) <= 2
    assert len(records.read()) == 22
    assert records.read()["web.vm"].addresses == ("10.208.0.2",)


async def test_who_gives_up_waits_until_the_records_are_as_asked(
    names: MapdnsNames, records: Records
) -> None:
    publishing = asyncio.create_task(names.publish(WEB))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert list(records.read()) == ["web.vm"]
    await names.withdraw(WEB.vm_id)
    assert records.read() == {}
