"""What Firecracker is sent for a boot, and what is refused before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.firecracker import bodies
from banger.drivers.vmm.firecracker.client import render
from banger.drivers.vmm.firecracker.version import Version, parse_version
from banger.errors import HostNotReady, InvalidInput
from banger.model.storage import Drive

V1_12 = Version(1, 12, 1)
SPEC = BootSpec(
    vm_id="0123456789ab",
    process_name="banger-1000-0123456789ab",
    vcpus=2,
    memory_mib=512,
    kernel=Path("/images/vmlinux"),
    initrd=Path("/vm/initrd.cpio"),
    arguments=("root=/dev/vda", "quiet"),
    drives=(
        Drive("root", Path("/vm/root.img"), "raw"),
        Drive("work", Path("/vm/work.img"), "raw", read_only=True),
    ),
    network=NetworkDevice(mac="02:00:00:00:00:01", tap="bgr0123456789ab"),
    console_log=Path("/vm/console.log"),
    console_socket=Path("/run/console.sock"),
    monitor_socket=Path("/run/monitor.sock"),
    agent_socket=Path("/run/agent.sock"),
    events=Path("/vm/events"),
    log=Path("/vm/vmm.log"),
)


def sent(spec: BootSpec, version: Version = V1_12) -> list[tuple[str, str, object]]:
    return [(r.method, r.path, r.document()) for r in bodies.requests(spec, version)]


def test_a_whole_boot() -> None:
    line = (
        "console=ttyS0 reboot=k panic=-1 pci=off i8042.noaux i8042.nomux i8042.dumbkbd"
        " clocksource=kvm-clock banger.vsock=1 root=/dev/vda quiet"
    )
    drive = {"is_root_device": False, "cache_type": "Writeback"}
    assert sent(SPEC) == [
        ("PUT", "/metrics", {"metrics_path": "metrics"}),
        (
            "PUT",
            "/machine-config",
            {"vcpu_count": 2, "mem_size_mib": 512, "smt": False, "track_dirty_pages": False},
        ),
        (
            "PUT",
            "/boot-source",
            {"kernel_image_path": "kernel", "boot_args": line, "initrd_path": "initrd"},
        ),
        (
            "PUT",
            "/drives/root",
            {"drive_id": "root", "path_on_host": "drive_root", "is_read_only": False, **drive},
        ),
        (
            "PUT",
            "/drives/work",
            {"drive_id": "work", "path_on_host": "drive_work", "is_read_only": True, **drive},
        ),
        (
            "PUT",
            "/network-interfaces/eth0",
            {
                "iface_id": "eth0",
                "host_dev_name": "bgr0123456789ab",
                "guest_mac": "02:00:00:00:00:01",
            },
        ),
        ("PUT", "/vsock", {"guest_cid": 3, "uds_path": "vsock.sock"}),
        ("PUT", "/entropy", {}),
    ]


def test_nothing_sent_names_a_folder_of_the_host() -> None:
    assert "/vm/" not in json.dumps(sent(SPEC))
    assert "/images" not in json.dumps(sent(SPEC))


def test_what_is_absent_is_left_out() -> None:
    spec = structs.replace(
        SPEC, initrd=None, drives=(), network=NetworkDevice(mac="02:00:00:00:00:01")
    )
    paths = [path for _, path, _ in sent(spec)]
    assert paths == ["/metrics", "/machine-config", "/boot-source", "/vsock", "/entropy"]
    assert "null" not in json.dumps(sent(spec))


@pytest.mark.parametrize(
    "change",
    [
        {"vcpus": 0},
        {"vcpus": 33},
        {"drives": (Drive("root", Path("/a"), "qcow2"),)},
        {"drives": (Drive("no-hyphens", Path("/a"), "raw"),)},
        {"drives": tuple(Drive(f"d{n}", Path("/a"), "raw") for n in range(16))},
        {"network": NetworkDevice(mac="02:00:00:00:00:01", ssh_port=2222)},
        {"arguments": ("x" * 2048,)},
        {"arguments": ("a\nb",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_firecracker_cannot_do_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        bodies.requests(structs.replace(SPEC, **change), V1_12)


def test_a_newer_version_has_room_for_one_device_less() -> None:
    drives = tuple(Drive(f"d{n}", Path("/a"), "raw") for n in range(15))
    spec = structs.replace(SPEC, drives=drives)
    assert sent(spec)
    with pytest.raises(InvalidInput, match="18 devices"):
        bodies.requests(spec, Version(1, 15, 0))


def test_a_request_as_bytes() -> None:
    assert render(bodies.GET_VERSION) == b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert render(bodies.PAUSE) == (
        b"PATCH /vm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 19\r\n\r\n{"state": "Paused"}'
    )


@pytest.mark.parametrize("text", ["Firecracker v1.12.1\n\nmore", "1.12.1", "v1.12.1-dirty"])
def test_versions(text: str) -> None:
    assert parse_version(text) == V1_12
    assert str(parse_version(text)) == "1.12.1"


@pytest.mark.parametrize("text", ["", "Firecracker", "1.11.9", "0.25.0"])
def test_versions_that_are_not_ours(text: str) -> None:
    with pytest.raises(HostNotReady):
        parse_version(text)


def test_what_newer_versions_can_do() -> None:
    assert not V1_12.boots_bzimage
    assert Version(1, 17, 0).boots_bzimage
    assert Version(1, 100, 0).boots_bzimage


def test_the_configuration_has_the_form_of_a_configuration_file() -> None:
    config = bodies.configuration(bodies.requests(SPEC, V1_12))
    assert config["machine-config"] == {
        "vcpu_count": 2,
        "mem_size_mib": 512,
        "smt": False,
        "track_dirty_pages": False,
    }
    drives = config["drives"]
    assert isinstance(drives, list)
    assert [drive["drive_id"] for drive in drives] == ["root", "work"]
    assert isinstance(config["network-interfaces"], list)
    assert config["entropy"] == {}
