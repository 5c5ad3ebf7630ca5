"""What the QEMU driver decides before it starts anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from banger.drivers.vmm.architecture import X86_64, Accelerator
from banger.drivers.vmm.qemu import driver
from banger.drivers.vmm.qemu.driver import QemuVMM
from banger.errors import HostNotReady

NOBODY = (65534, 65534)


def qemu(accelerator: Accelerator) -> QemuVMM:
    return QemuVMM(
        executable=Path("/usr/bin/qemu-system-x86_64"),
        version="7.2",
        accelerator=accelerator,
        architecture=X86_64,
    )


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for /dev/kvm."""
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(driver, "_KVM", path)
    return path


def test_a_device_open_to_all_needs_no_group(device: Path) -> None:
    device.chmod(0o666)
    assert qemu("kvm")._groups(NOBODY) in ((), (device.stat().st_gid,))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_group_of_the_device_is_joined(device: Path) -> None:
    os.chown(device, 0, 104)
    device.chmod(0o660)
    assert qemu("kvm")._groups(NOBODY) == (104,)


@pytest.mark.skipif(os.geteuid() != 0, reason="root's own group is never handed on")
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_device_of_root_alone_is_refused_with_the_remedy(device: Path, mode: int) -> None:
    device.chmod(mode)
    with pytest.raises(HostNotReady, match="may not use KVM") as caught:
        qemu("kvm")._groups(NOBODY)
    assert "chgrp kvm" in caught.value.resolution


@pytest.mark.parametrize(("accelerator", "run_as"), [("tcg", NOBODY), ("kvm", None)])
def test_no_group_is_needed_otherwise(
    device: Path, accelerator: Accelerator, run_as: tuple[int, int] | None
) -> None:
    device.unlink()
    assert qemu(accelerator)._groups(run_as) == ()
