from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from banger.daemon import selection
from banger.daemon.selection import Selection
from banger.host.choice import HostFacts
from banger.host.kvm_probe import KvmLevel, KvmVerdict
from banger.paths import Paths
from banger.settings import Settings

LINUX = KvmVerdict(KvmLevel.LINUX, "vmlinux booted in 0.9 s")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.from_environment({"HOME": str(tmp_path)}, 1000)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A KVM probe that lasts until the event is set, on a host that has everything."""
    done = threading.Event()

    def slow(_paths: Paths) -> KvmVerdict:
        done.wait(10)
        return LINUX

    def facts(_paths: Paths, kvm: KvmVerdict) -> HostFacts:
        return HostFacts(kvm.level, kvm.evidence, qemu=True, qemu_img=True, reflink=True, tap="")

    monkeypatch.setattr(selection, "probe_kvm", slow)
    monkeypatch.setattr(selection, "host_facts", facts)
    monkeypatch.setattr(selection, "PATIENCE", 0.05)
    return done


async def version(name: str) -> str:
    assert name == "qemu"
    return "7.2"


async def test_nobody_waits_for_the_probe_but_who_needs_it(
    paths: Paths, probe: threading.Event
) -> None:
    chosen = Selection(paths, Settings())
    choice = await asyncio.wait_for(chosen.choose(), 2)
    assert (choice.vmm, choice.storage, choice.network) == ("qemu", "qcow2", "tap")
    pending = await asyncio.wait_for(chosen.facts(version), 2)
    assert pending.vmm.accelerator == ""
    accelerator = asyncio.ensure_future(chosen.accelerator())
    await asyncio.sleep(0.05)
    assert not accelerator.done()
    probe.set()
    assert await accelerator == "kvm"
    known = await chosen.facts(version)
    assert (known.vmm.accelerator, known.vmm.version) == ("kvm", "7.2")
    assert "vmlinux booted" in known.vmm.reason


async def test_settings_come_before_what_the_host_can(paths: Paths, probe: threading.Event) -> None:
    probe.set()
    chosen = Selection(paths, Settings(storage="copy", network="user"))
    choice = await chosen.choose()
    assert (choice.storage, choice.network) == ("copy", "user")
    assert (await chosen.facts(version)).network.reason == "it was asked for"


async def test_who_gives_up_waiting_does_not_end_the_probe(
    paths: Paths, probe: threading.Event
) -> None:
    chosen = Selection(paths, Settings())
    first = asyncio.ensure_future(chosen.accelerator())
    second = asyncio.ensure_future(chosen.accelerator())
    await asyncio.sleep(0.02)
    first.cancel()
    await asyncio.sleep(0.02)
    probe.set()
    assert await second == "kvm"


async def test_firecracker_by_name_needs_no_probe_until_somebody_asks(
    paths: Paths, probe: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[Paths] = []

    def note(paths: Paths) -> KvmVerdict:
        probed.append(paths)
        return LINUX

    monkeypatch.setattr(selection, "probe_kvm", note)
    chosen = Selection(paths, Settings(vmm="firecracker"))
    assert (await chosen.choose()).vmm == "firecracker"
    await asyncio.sleep(0.05)
    assert probed == []
    # A VM for QEMU may be wanted beside it.
    assert await chosen.accelerator() == "kvm"
    assert probed == [paths]


async def test_where_firecracker_is_installed_the_choice_waits_for_the_probe(
    paths: Paths, probe: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def facts(_paths: Paths, kvm: KvmVerdict) -> HostFacts:
        return HostFacts(kvm.level, kvm.evidence, True, True, True, "", firecracker="1.12.1")

    monkeypatch.setattr(selection, "host_facts", facts)
    paths.firecracker.mkdir(parents=True)
    (paths.firecracker / "taken.json").touch()
    (paths.firecracker / "firecracker").touch()
    by_name = Selection(paths, Settings(vmm="qemu"))
    assert (await asyncio.wait_for(by_name.choose(), 2)).vmm == "qemu"
    chosen = Selection(paths, Settings())
    choosing = asyncio.ensure_future(chosen.choose())
    await asyncio.sleep(0.1)
    assert not choosing.done()
    probe.set()
    assert (await choosing).vmm == "firecracker"

    async def version(name: str) -> str:
        return {"firecracker": "1.12.1"}[name]

    known = await chosen.facts(version)
    assert (known.vmm.name, known.vmm.version) == ("firecracker", "1.12.1")
