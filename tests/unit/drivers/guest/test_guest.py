"""The guest driver as its callers see it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from banger.drivers.guest.base import Guest
from banger.drivers.guest.guest import LinuxGuest
from banger.drivers.guest.profiles import COMMON_MASKS, FAST_MASKS, masked_units
from banger.errors import BangerError, InvalidInput
from banger.host import cpio
from tests.requirements import needs
from tests.unit.drivers.guest.test_identity import IDENTITY
from tests.unit.host.test_cpio import parse


def test_it_is_a_guest() -> None:
    guest: Guest = LinuxGuest()
    assert guest


def test_the_initrd_is_the_base_and_the_identity(tmp_path: Path) -> None:
    base = cpio.archive([cpio.file("base", b"x")])
    (tmp_path / "base").write_bytes(base + b"\n")
    target = tmp_path / "initrd.cpio"
    LinuxGuest().write_initrd(IDENTITY, tmp_path / "base", target)
    content = target.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    start = len(cpio.pad(base + b"\n"))
    assert content.startswith(base)
    assert "banger/identity" in [name for name, _, _ in parse(content[start:])]


def test_a_base_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BangerError, match="could not read"):
        LinuxGuest().write_initrd(IDENTITY, tmp_path / "base", tmp_path / "target")
    assert not (tmp_path / "target").exists()


@needs("ssh")
def test_keys_and_known_hosts(tmp_path: Path) -> None:
    guest = LinuxGuest()
    public = guest.new_host_key(tmp_path / "host")
    assert guest.user_key(tmp_path / "user").startswith("ssh-ed25519 ")
    guest.write_known_hosts(tmp_path / "known_hosts", {"banger-1": public})
    assert f"banger-1 {' '.join(public.split()[:2])}\n" in (tmp_path / "known_hosts").read_text()


@pytest.mark.parametrize("profile", ["standard", "fast"])
def test_kernel_arguments(profile: str) -> None:
    arguments = LinuxGuest().kernel_arguments(profile)
    for needed in ("root=/dev/vda", "rw", "net.ifnames=0"):
        assert needed in arguments
    # A guest is not made weaker to be quicker.
    assert not {"mitigations=off", "nokaslr", "lsm="} & set(arguments)


def test_an_unknown_profile() -> None:
    with pytest.raises(InvalidInput):
        LinuxGuest().kernel_arguments("quick")


def test_masks_have_reasons_and_no_unit_is_there_twice() -> None:
    assert not COMMON_MASKS.keys() & FAST_MASKS.keys()
    assert all((COMMON_MASKS | FAST_MASKS).values())
    assert set(masked_units("standard")) < set(masked_units("fast"))
