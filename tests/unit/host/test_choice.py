from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from banger.host.choice import HostFacts, choose
from banger.host.kvm_probe import KvmLevel

BEST = HostFacts(KvmLevel.LINUX, "it booted", qemu=True, qemu_img=True, reflink=True, tap="")


def names(facts: HostFacts, **asked: str) -> tuple[str, str, str, str]:
    choice = choose(facts, **asked)
    return (choice.vmm.name, choice.accelerator.name, choice.storage.name, choice.network.name)


def test_the_best_is_taken() -> None:
    assert names(BEST) == ("qemu", "kvm", "qcow2", "tap")


@pytest.mark.parametrize("level", [level for level in KvmLevel if level is not KvmLevel.LINUX])
def test_kvm_is_used_only_where_linux_boots(level: KvmLevel) -> None:
    assert names(replace(BEST, kvm=level))[1] == "tcg"


WITH_FIRECRACKER = replace(BEST, firecracker="1.12.1", no_firecracker="")


def test_firecracker_is_the_vmm_where_linux_boots_on_kvm() -> None:
    assert names(WITH_FIRECRACKER)[0] == "firecracker"
    assert "1.12.1" in choose(WITH_FIRECRACKER).vmm.reason
    assert names(WITH_FIRECRACKER, vmm="qemu")[0] == "qemu"
    assert names(replace(WITH_FIRECRACKER, qemu=False))[0] == "firecracker"


@pytest.mark.parametrize(
    ("lacks", "asked", "words"),
    [
        ({"kvm": KvmLevel.BARE_ELF}, {}, "needs a KVM that boots Linux"),
        ({"firecracker": "", "no_firecracker": "it has changed"}, {}, "it has changed"),
        ({"tap": "no root"}, {}, "no network without a TAP: no root"),
        ({}, {"network": "user"}, "no network without a TAP"),
        ({}, {"storage": "qcow2"}, "no qcow2 files"),
    ],
)
def test_qemu_stands_in_and_the_reason_is_told(
    lacks: dict[str, object], asked: dict[str, str], words: str
) -> None:
    chosen = choose(replace(WITH_FIRECRACKER, **lacks), **asked).vmm
    assert chosen.name == "qemu"
    assert words in chosen.reason


def test_what_is_missing_has_a_substitute() -> None:
    assert names(replace(BEST, qemu_img=False))[2] == "reflink"
    assert names(replace(BEST, qemu_img=False, reflink=False))[2] == "copy"
    facts = replace(BEST, tap="no root")
    assert names(facts)[3] == "user"
    assert choose(facts).network.reason == "no root"


def test_snapshots_are_taken_for_every_vmm_where_they_can_be_made() -> None:
    choice = choose(replace(BEST, snapshots="device-mapper 4.47.0"))
    assert (choice.storage.name, choice.raw_storage.name) == ("dm_snapshot", "dm_snapshot")
    assert "4.47.0" in choice.storage.reason
    for facts in (BEST, replace(BEST, reflink=False)):
        assert "no root" in choose(replace(facts, no_snapshots="no root")).storage.reason


def test_what_was_asked_for_is_taken() -> None:
    assert names(BEST, vmm="qemu", storage="copy", network="user") == (
        "qemu", "kvm", "copy", "user",
    )  # fmt: skip
    assert choose(BEST, storage="copy").storage.reason == "it was asked for"


@given(
    st.builds(
        HostFacts,
        kvm=st.sampled_from(KvmLevel),
        kvm_evidence=st.just("seen"),
        qemu=st.booleans(),
        qemu_img=st.booleans(),
        reflink=st.booleans(),
        tap=st.sampled_from(["", "no root"]),
        snapshots=st.sampled_from(["", "device-mapper 4.47.0"]),
        firecracker=st.sampled_from(["", "1.12.1"]),
    )
)
def test_every_choice_has_a_reason(facts: HostFacts) -> None:
    choice = choose(facts)
    for chosen in (choice.vmm, choice.accelerator, choice.storage, choice.network):
        assert chosen.name != "auto"
        assert chosen.reason
