"""What another user may open, and how it is let in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from banger.drivers.vmm.firecracker import rights
from banger.errors import HostNotReady
from tests.requirements import needs

R, RW = os.R_OK, os.R_OK | os.W_OK


def status(mode: int, uid: int = 1, gid: int = 2) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "user", "wanted", "may"),
    [
        (0o600, (1, 9), RW, True),
        (0o060, (9, 2), RW, True),
        (0o640, (9, 2), RW, False),
        (0o640, (9, 2), R, True),
        (0o666, (9, 9), RW, True),
        (0o660, (9, 9), R, False),
        # The owner's own bits count for the owner, though others had more.
        (0o066, (1, 2), R, False),
    ],
)
def test_modes(mode: int, user: tuple[int, int], wanted: int, *, may: bool) -> None:
    assert rights.may(status(mode), user, wanted) is may


def test_nobody_needs_nothing(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        rights.grant(file.fileno(), None, RW)
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


@needs("root")
def test_a_user_is_let_in_by_the_group_and_the_owner_stays(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        rights.grant(file.fileno(), (65534, 65534), RW)
        found = os.fstat(file.fileno())
    assert (found.st_uid, found.st_gid) == (0, 65534)
    assert stat.S_IMODE(found.st_mode) == 0o660


def test_kvm_of_a_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    monkeypatch.setattr(rights, "_KVM", device)
    with pytest.raises(HostNotReady, match="needs KVM"):
        rights.kvm_groups(None)
    device.touch()
    device.chmod(0o600)
    assert rights.kvm_groups(None) == ()
    with pytest.raises(HostNotReady, match="may not use KVM"):
        rights.kvm_groups((65534, 65534))
    device.chmod(0o666)
    assert rights.kvm_groups((65534, 65534)) in ((), (device.stat().st_gid,))


def test_a_tap_that_is_not_there_is_never_asked_for() -> None:
    with pytest.raises(HostNotReady, match="does not exist"):
        rights.give_tap("bgrabsent", None)
