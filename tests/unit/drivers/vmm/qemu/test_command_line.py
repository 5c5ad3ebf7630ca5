"""The argument lists of QEMU, compared whole with what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from banger.drivers.vmm.architecture import AARCH64, X86_64
from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.qemu.command_line import Platform, render
from banger.drivers.vmm.qemu.descriptors import Descriptors, DriveDescriptors
from banger.errors import InvalidInput
from banger.model.storage import Drive

GOLDEN = Path(__file__).parents[4] / "golden/qemu"
SECRET = Path("/home/ann/.local/state/banger/vms/0123456789ab")

SPEC = BootSpec(
    vm_id="0123456789ab",
    process_name="banger-1000-0123456789ab",
    vcpus=2,
    memory_mib=1024,
    kernel=SECRET / "vmlinux",
    initrd=SECRET / "initrd.cpio",
    arguments=("root=/dev/vda", "rw", "quiet"),
    drives=(Drive("root", SECRET / "root.qcow2", "qcow2", SECRET / "rootfs.ext4"),),
    network=NetworkDevice(mac="02:00:00:00:00:01", tap="bgr0123456789ab"),
    console_log=SECRET / "console.log",
    console_socket=SECRET / "console.sock",
    monitor_socket=SECRET / "monitor.sock",
    agent_socket=SECRET / "agent.sock",
    events=SECRET / "events",
    log=SECRET / "log",
    run_as=(65534, 65534),
)
OPEN = Descriptors(
    kernel=20,
    initrd=21,
    console=22,
    monitor=23,
    agent=24,
    console_log=25,
    guard=26,
    drives=(DriveDescriptors(30, 31),),
    tap=40,
)
TCG = Platform(Path("/usr/bin/qemu-system-x86_64"), X86_64, "tcg", 2_600_000)
KVM = structs.replace(TCG, accelerator="kvm", tsc_khz=None)
ARM = Platform(Path("/usr/bin/qemu-system-aarch64"), AARCH64, "tcg", None)

CASES = {
    "tcg_tap_qcow2": (SPEC, OPEN, TCG),
    "kvm_tap_qcow2": (SPEC, OPEN, KVM),
    "user_network_raw_and_work_drive": (
        structs.replace(
            SPEC,
            vcpus=16,
            memory_mib=32768,
            initrd=None,
            drives=(
                Drive("root", SECRET / "root.ext4", "raw"),
                Drive("work", SECRET / "work.ext4", "raw"),
            ),
            network=NetworkDevice(mac="02:00:00:00:00:02", ssh_port=22022),
        ),
        structs.replace(
            OPEN, initrd=None, drives=(DriveDescriptors(30), DriveDescriptors(31)), tap=None
        ),
        TCG,
    ),
    "block_device_read_only_no_clock": (
        structs.replace(
            SPEC,
            memory_mib=64,
            arguments=(),
            drives=(Drive("root", Path("/dev/dm-1"), "raw", read_only=True),),
        ),
        structs.replace(OPEN, drives=(DriveDescriptors(30, device=True),)),
        structs.replace(TCG, tsc_khz=None),
    ),
    "aarch64": (SPEC, OPEN, ARM),
}


@pytest.mark.parametrize("name", CASES)
def test_the_whole_list_is_as_it_should_be(name: str) -> None:
    expected = (GOLDEN / f"{name}.txt").read_text(encoding="ascii").splitlines()
    assert render(*CASES[name]) == expected


def test_every_golden_file_is_used() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_no_path_of_ours_is_in_the_list(name: str) -> None:
    assert str(SECRET) not in " ".join(render(*CASES[name]))


def test_control_characters_in_kernel_arguments_are_refused() -> None:
    with pytest.raises(InvalidInput, match="control character"):
        render(structs.replace(SPEC, arguments=("a\nb",)), OPEN, TCG)


@given(st.integers(1, 16), st.integers(64, 32768))
def test_the_size_of_the_guest_is_passed_on(vcpus: int, memory: int) -> None:
    argv = render(structs.replace(SPEC, vcpus=vcpus, memory_mib=memory), OPEN, TCG)
    assert argv[argv.index("-smp") + 1] == str(vcpus)
    assert argv[argv.index("-m") + 1] == f"{memory}M"
    cache = argv[argv.index("-accel") + 1].rpartition("=")[2]
    assert 64 <= int(cache) <= 512


def test_each_descriptor_is_inherited_once() -> None:
    for _, descriptors, _ in CASES.values():
        inherited = descriptors.inherited()
        assert len(set(inherited)) == len(inherited)
    assert set(OPEN.inherited()) == {20, 21, 22, 23, 24, 25, 26, 30, 31, 40}
