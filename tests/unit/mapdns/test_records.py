"""The records file keeps every change of every process, and refuses what is no name."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.errors import BangerError, CorruptState, InvalidInput, NotFound
from banger.host import files
from banger.mapdns.records import Record, Records, check_addresses, full_name, parse, render


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "mapdns" / "records.json")


def test_a_record_is_set_replaced_and_removed(records: Records) -> None:
    assert records.read() == {}
    assert records.set("web", ["10.208.0.2"]) == "web.vm"
    records.set("WEB.vm.", ["10.208.0.6", "fd00::0:2"])
    assert records.read() == {"web.vm": Record(("10.208.0.6", "fd00::2"))}
    assert stat.S_IMODE(records.path.stat().st_mode) == 0o600
    assert records.remove("web") == "web.vm"
    with pytest.raises(NotFound) as caught:
        records.remove("web")
    assert caught.value.resolution == "mapdns list"


def test_many_processes_lose_nothing(records: Records) -> None:
    children = []
    for child in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                for number in range(10):
                    records.set(f"vm-{child}-{number}", [f"10.0.{child}.{number}"])
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
    assert len(records.read()) == 80
    assert {path.name for path in records.path.parent.iterdir()} == {
        "records.json",
        "records.lock",
    }


def test_only_what_must_last_waits_for_its_folder(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    record = Record(("10.0.0.2",), "banger:0:x")
    table = records.change(lambda table: table.update({"web.vm": record}), lasting=False)
    assert records.read() == table == {"web.vm": record}
    assert synced == []
    records.set("db", ["10.0.0.3"])
    assert synced == [records.path.parent]


def test_an_edit_that_fails_changes_nothing(records: Records) -> None:
    records.set("web", ["10.0.0.1"])
    before = records.path.stat().st_ino

    def edit(table: dict[str, Record]) -> None:
        table.clear()
        raise NotFound("nothing")

    with pytest.raises(NotFound):
        records.change(edit)
    records.change(lambda table: None)
    assert records.path.stat().st_ino == before
    assert list(records.read()) == ["web.vm"]


@pytest.mark.parametrize(
    "name",
    ["", ".vm", "-a", "a-", "a_b", "a.b", "a/b", "..", "a\n", "a\0", "ä", "x" * 64, "web.com",
     "$(id)", "%s", "a.vm.vm", "web.vm..", "\u202ea", "\uff41", " a", "\u212a"],
)  # fmt: skip
def test_names_that_are_none(records: Records, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        records.set(name, ["10.0.0.1"])
    assert caught.value.cause
    assert caught.value.resolution
    assert not records.path.exists()


@pytest.mark.parametrize(
    "addresses",
    [[], ["10.0.0.1/24"], ["fe80::1%eth0"], ["localhost"], ["010.0.0.1"], ["224.0.0.1"], [""],
     [f"10.0.0.{n}" for n in range(9)]],
)  # fmt: skip
def test_addresses_that_are_none(addresses: list[str]) -> None:
    with pytest.raises(InvalidInput):
        check_addresses(addresses)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'{"records": []}', b'{"records": {"web.vm": "10.0.0.1"}}', b"\xff",
     b'{"records": {"a b": {"addresses": ["10.0.0.1"]}}}',
     b'{"records": {"web.vm": {"addresses": ["x"]}}}', b"[" * 100_000],
)  # fmt: skip
def test_a_spoilt_file_is_named_and_kept(records: Records, text: bytes) -> None:
    records.path.parent.mkdir()
    records.path.write_bytes(text)
    with pytest.raises(CorruptState) as caught:
        records.set("web", ["10.0.0.1"])
    assert str(records.path) in caught.value.resolution
    assert records.path.read_bytes() == text


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
addresses = st.lists(st.ip_addresses().filter(lambda ip: not ip.is_multicast), min_size=1,
                     max_size=8, unique=True)  # fmt: skip


@given(st.dictionaries(labels, st.builds(
    lambda found, owner: Record(check_addresses([str(ip) for ip in found]), owner),
    addresses, st.text())))  # fmt: skip
def test_what_is_written_is_read_back(table: dict[str, Record]) -> None:
    full = {full_name(label): record for label, record in table.items()}
    assert parse(render(full).encode(), Path("records.json")) == full


@given(st.binary() | st.text().map(lambda text: json.dumps({"records": {text: {}}}).encode()))
def test_reading_raises_banger_errors_only(data: bytes) -> None:
    with contextlib.suppress(BangerError):
        parse(data, Path("records.json"))
