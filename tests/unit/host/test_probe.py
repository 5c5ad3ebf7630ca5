from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from banger.host import facts, kernel_checks, probe, program_checks, room_checks
from banger.host.finding import Check, Status
from banger.host.kvm_probe import KvmLevel, KvmVerdict
from banger.paths import Paths
from banger.settings import MIB, Settings

LINUX = KvmVerdict(KvmLevel.LINUX, "vmlinux booted in 1.0 s", 1.1)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    return Paths.from_environment(environment, os.getuid())


@pytest.fixture(autouse=True)
def no_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe_kvm", lambda paths, refresh: LINUX)


def by_name(checks: object) -> dict[str, Check]:
    return {check.name: check for check in checks}  # type: ignore[attr-defined]


def test_every_requirement_is_reported_once_and_whole(paths: Paths) -> None:
    report = probe.examine(paths, Settings())
    names = [check.name for check in report.checks]
    assert len(names) == len(set(names))
    for wanted in ("kvm", "root", "busybox", "nft", "device-mapper", "mke2fs",
                   "e2fsck", "ssh", "ssh-keygen", "mmdebstrap", "qemu-system-x86_64", "qemu-img",
                   "zstd", "lz4", "firecracker", "memory", "disk space", "names",
                   "socket paths", "folders"):  # fmt: skip
        assert wanted in names
    for check in report.checks:
        assert check.purpose
        assert check.found
        assert check.needed_for
        assert bool(check.resolution) == (check.status is not Status.OK), check
    assert report.usable == probe.usable(report.checks)
    assert report.choice.accelerator.name == "kvm"


def test_looking_changes_nothing(paths: Paths, tmp_path: Path) -> None:
    assert probe.checks(paths, Settings())
    assert list(tmp_path.iterdir()) == []


def test_one_failure_makes_the_host_unusable() -> None:
    good = Check("a", "p", Status.OK, "f", "", "n")
    assert probe.usable([good, replace(good, status=Status.WARN)])
    assert not probe.usable([good, replace(good, status=Status.FAIL)])


@pytest.mark.parametrize(("have_image", "status"), [(False, Status.FAIL), (True, Status.WARN)])
def test_what_builds_images_is_vital_until_there_is_one(
    have_image: bool, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = program_checks.Program("no-such-program", "some-package", "x", "building images")
    monkeypatch.setattr(program_checks, "PROGRAMS", (absent,))
    checks = by_name(program_checks.program_checks(have_image=have_image, is_root=True))
    assert checks["no-such-program"].status is status
    assert "apt-get install some-package" in checks["no-such-program"].resolution


def test_a_program_tells_its_version() -> None:
    shell = program_checks.Program("sh", "dash", "runs scripts", "all", "-c")
    assert program_checks.check_program(shell, vital=True).status is Status.OK
    tar = program_checks.Program("tar", "tar", "unpacks", "all", "--version")
    assert "tar" in program_checks.check_program(tar, vital=True).found


def test_ordinary_users_need_namespaces() -> None:
    names = by_name(program_checks.program_checks(have_image=False, is_root=False))
    assert {"unshare", "newuidmap"} <= names.keys()


@pytest.mark.parametrize("level", list(KvmLevel))
def test_kvm_never_makes_a_host_unusable(level: KvmLevel) -> None:
    check = kernel_checks.kvm_check(KvmVerdict(level, "seen"))
    assert check.status is (Status.OK if level is KvmLevel.LINUX else Status.WARN)
    assert "seen" in check.found
    assert bool(check.resolution) == (level is not KvmLevel.LINUX)


@pytest.mark.parametrize(
    ("mib", "status"),
    [(100, Status.FAIL), (600, Status.WARN), (4000, Status.OK)],
)
def test_memory(mib: int, status: Status) -> None:
    assert room_checks.memory_check(mib).status is status


@pytest.mark.parametrize(
    ("free", "have_image", "status"),
    [
        (100 * MIB, True, Status.FAIL),
        (600 * MIB, True, Status.OK),
        (600 * MIB, False, Status.WARN),
        (9000 * MIB, False, Status.OK),
    ],
)
def test_disk(free: int, have_image: bool, status: Status) -> None:
    check = room_checks.disk_check(Path("/x/banger"), free, 512 * MIB, have_image=have_image)
    assert check.status is status


def test_a_long_runtime_folder_is_found(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/run/" + "x" * 80}
    paths = Paths.from_environment(environment, os.getuid())
    check = by_name(room_checks.room_checks(paths, 0, have_image=True))["socket paths"]
    assert check.status is Status.FAIL
    assert "XDG_RUNTIME_DIR" in check.resolution


def test_a_folder_that_is_a_file_is_found(paths: Paths) -> None:
    paths.cache.parent.mkdir()
    paths.cache.write_text("x")
    check = by_name(room_checks.room_checks(paths, 0, have_image=True))["folders"]
    assert (check.status, check.found) == (Status.FAIL, f"{paths.cache} cannot be written to")


def test_obstacles_to_a_tap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in facts.tap_obstacle()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(facts, "_TUN", tmp_path / "tun")
    assert "tun: No such file" in facts.tap_obstacle()
    (tmp_path / "tun").touch()
    assert facts.tap_obstacle() == ""


def test_facts_of_a_folder_yet_to_be_made(paths: Paths) -> None:
    found = facts.host_facts(paths, LINUX)
    assert (found.kvm, found.reflink) == (KvmLevel.LINUX, False)
    assert facts.has_program("sh")
    assert not facts.has_program("no-such-program")
