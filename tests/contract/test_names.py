"""What every name service promises, tried on the fake and on the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from banger.drivers.dns import listening
from banger.drivers.dns.base import NameService, Publication
from banger.drivers.dns.hosts_file import HostsFile
from banger.drivers.dns.mapdns import MapdnsNames
from banger.host.privilege import Privilege
from banger.mapdns.records import Records
from banger.privileged import hosts_file
from tests.fakes.world import FakeNames, World
from tests.requirements import needs

WEB = Publication("0123456789ab", "web", "10.208.0.2", "10.208.0.1")
DB = Publication("abcdef012345", "db", "10.208.0.6", "10.208.0.5")


@pytest.fixture(params=["fake", pytest.param("mapdns", marks=needs("root"))])
async def names(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[NameService]:
    names: NameService
    if request.param == "fake":
        names = FakeNames(World(tmp_path))
    else:
        (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
        monkeypatch.setattr(hosts_file, "HOSTS", tmp_path / "hosts")
        monkeypatch.setattr(hosts_file, "LOCK", tmp_path / "lock")
        monkeypatch.setattr(listening, "PORT", 0)
        records = Records(tmp_path / "mapdns" / "records.json")
        names = MapdnsNames(records, lambda: HostsFile(Privilege(), 0), 0)
    yield names
    await names.close()


async def test_a_name_lives_from_publish_to_withdraw(names: NameService) -> None:
    assert names.dns_name(WEB.vm_id) == ""
    await names.publish(WEB)
    await names.publish(WEB)
    await names.publish(DB)
    assert names.dns_name(WEB.vm_id) == "web.vm"
    assert set(names.list()) == {"web.vm", "db.vm"}
    await names.withdraw(WEB.vm_id)
    await names.withdraw(WEB.vm_id)
    assert names.dns_name(WEB.vm_id) == ""
    assert set(names.list()) == {"db.vm"}


async def test_settling_publishes_what_runs(names: NameService) -> None:
    await names.settle([WEB], set())
    assert names.dns_name(WEB.vm_id) == "web.vm"


async def test_ending_twice_is_no_error(names: NameService) -> None:
    await names.publish(WEB)
    await names.close()
    await names.close()
