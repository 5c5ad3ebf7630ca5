"""The initrd holds what a boot needs, in order, whatever the modules are compressed with."""

from __future__ import annotations

import gzip
import lzma
import subprocess
from pathlib import Path

import pytest

from banger.drivers.guest.initrd import build_initrd, unpack_module
from banger.errors import InvalidInput
from tests.unit.host.test_cpio import parse

VERSION = "6.12.1-test"
BUSYBOX = b"\x7fELF\x02busybox"


def module(depends: str) -> bytes:
    return b"\x7fELF\x02\0license=GPL\0depends=" + depends.encode() + b"\0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An unpacked kernel package: some modules built in, the others compressed in two ways."""
    folder = tmp_path / "lib/modules" / VERSION
    drivers = folder / "kernel/drivers"
    drivers.mkdir(parents=True)
    (folder / "modules.builtin").write_text(
        "kernel/drivers/virtio/virtio.ko\nkernel/fs/ext4/ext4.ko\nkernel/x/virtio_console.ko\n"
    )
    for name, depends in {
        "virtio_mmio": "virtio",
        "virtio_blk": "",
        "virtio_net": "net_failover",
        "net_failover": "failover",
        "vmw_vsock_virtio_transport": "vmw_vsock_virtio_transport_common,vsock",
        "vmw_vsock_virtio_transport_common": "vsock",
        "vsock": "",
    }.items():
        (drivers / f"{name}.ko.xz").write_bytes(lzma.compress(module(depends)))
    (drivers / "failover.ko.gz").write_bytes(gzip.compress(module("")))
    return tmp_path


def content(archive: bytes) -> dict[str, bytes]:
    return {name: data for name, _, data in parse(archive)}


def test_lists_are_in_load_order_and_every_module_is_there(tree: Path) -> None:
    files = content(build_initrd(tree, VERSION, BUSYBOX))
    boot = files["modules/boot"].decode().split()
    assert boot == ["virtio_mmio", "virtio_blk", "failover", "net_failover", "virtio_net"]
    vsock = files["modules/vsock"].decode().split()
    assert vsock[0] == "vsock"
    assert vsock[-1] == "vmw_vsock_virtio_transport"
    for name in boot + vsock:
        assert files[f"modules/{name}.ko"].startswith(b"\x7fELF")
    assert files["bin/busybox"] == BUSYBOX
    assert files["init"].startswith(b"#!/bin/busybox sh\n")


def test_the_same_each_time_and_from_the_versions_own_folder(tree: Path) -> None:
    first = build_initrd(tree, VERSION, BUSYBOX)
    assert build_initrd(tree / "lib/modules" / VERSION, VERSION, BUSYBOX) == first


def test_a_kernel_that_cannot_boot_is_refused(tree: Path) -> None:
    (tree / "lib/modules" / VERSION / "kernel/drivers/virtio_blk.ko.xz").unlink()
    with pytest.raises(InvalidInput) as caught:
        build_initrd(tree, VERSION, BUSYBOX)
    assert "virtio_blk" in caught.value.cause


def test_another_version_is_refused(tree: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no modules of the kernel 6\.1"):
        build_initrd(tree, "6.1", BUSYBOX)


def test_a_busybox_that_is_no_program_is_refused(tree: Path) -> None:
    with pytest.raises(InvalidInput, match="busybox"):
        build_initrd(tree, VERSION, b"#!/bin/sh")


@pytest.mark.parametrize("suffix", ["xz", "gz"])
def test_damaged_modules(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.ko.{suffix}"
    path.write_bytes(b"no archive")
    with pytest.raises(InvalidInput, match="cannot be read"):
        unpack_module(path)


def test_what_is_no_module_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.ko.xz"
    path.write_bytes(lzma.compress(b"text"))
    with pytest.raises(InvalidInput, match="cannot be read"):
        unpack_module(path)


def zstd_works() -> bool:
    return subprocess.run(["which", "zstd"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not zstd_works(), reason="zstd is not installed (Debian package zstd)")
def test_zstd(tmp_path: Path) -> None:
    done = subprocess.run(["zstd", "-c"], input=module(""), capture_output=True, check=True)
    path = tmp_path / "a.ko.zst"
    path.write_bytes(done.stdout)
    assert unpack_module(path) == module("")
