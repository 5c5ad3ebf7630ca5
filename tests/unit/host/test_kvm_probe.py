from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from banger.drivers.vmm.architecture import X86_64
from banger.errors import HostNotReady
from banger.host import kvm_probe, process
from banger.host import trial as trial_module
from banger.host.firecracker_binary import take_given
from banger.host.kvm_probe import KvmLevel, KvmVerdict, kernel_to_try, probe_kvm
from banger.host.trial import Trial
from banger.paths import Paths

PASSED = Trial(True, 0.1, "banger", "", ended=False)
SILENT = Trial(False, 2.0, "", "", ended=False)
SILENT_TWICE = (SILENT, SILENT)
ABORTED = Trial(False, 0.2, "", "qemu: failed to set MSR", ended=True)
OPENS = KvmVerdict(KvmLevel.OPENS_ONLY, "/dev/kvm opens")

Play = Callable[..., list[tuple[str, ...]]]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.from_environment({"HOME": str(tmp_path)}, 1000)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinux"
    path.write_bytes(b"kernel")
    return path


def give_trials(
    monkeypatch: pytest.MonkeyPatch, trial: Callable[[tuple[str, ...], str, float], Trial]
) -> None:
    """``trial`` takes the place of every guest that is booted, the bare ones' second too."""
    monkeypatch.setattr(trial_module, "run_trial", trial)
    monkeypatch.setattr(kvm_probe, "run_trial", trial)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Play:
    """Let the trials have these results, one after the other; returns their commands."""
    emulator = tmp_path / "qemu"
    emulator.write_bytes(b"v1")
    monkeypatch.setattr(kvm_probe, "find_program", lambda name, package: emulator)
    monkeypatch.setattr(kvm_probe, "_open_device", lambda: OPENS)

    def prepare(*results: Trial) -> list[tuple[str, ...]]:
        left, seen = list(results), []

        def trial(argv: tuple[str, ...], proof: str, timeout: float) -> Trial:
            seen.append(argv)
            return left.pop(0)

        give_trials(monkeypatch, trial)
        return seen

    return prepare


def test_linux_is_proved_by_booting_it(paths: Paths, kernel: Path, play: Play) -> None:
    commands = play(PASSED, PASSED)
    verdict = probe_kvm(paths, kernel)
    assert verdict.level is KvmLevel.LINUX
    assert verdict.boots_linux
    assert all("kvm" in command for command in commands)
    assert str(kernel) in commands[1]


@pytest.mark.parametrize(
    ("results", "level", "words"),
    [
        (SILENT_TWICE, KvmLevel.OPENS_ONLY, "not even a bare guest runs: no sign of life in 2 s"),
        ((ABORTED,), KvmLevel.OPENS_ONLY, "QEMU ended (qemu: failed to set MSR)"),
        ((PASSED, SILENT), KvmLevel.BARE_ELF, "vmlinux did not boot: no sign of life"),
        ((PASSED, ABORTED), KvmLevel.BARE_ELF, "failed to set MSR"),
    ],
)
def test_anything_less_is_told_apart(
    results: tuple[Trial, ...], level: KvmLevel, words: str, paths: Paths, kernel: Path, play: Play
) -> None:
    play(*results)
    verdict = probe_kvm(paths, kernel)
    assert (verdict.level, verdict.boots_linux) == (level, False)
    assert words in verdict.evidence


def test_one_bare_guest_that_stays_silent_decides_nothing(
    paths: Paths, kernel: Path, play: Play
) -> None:
    """What is believed until the host boots again must not rest on one guest's bad luck."""
    commands = play(SILENT, PASSED, PASSED)
    assert probe_kvm(paths, kernel).boots_linux
    assert commands[0] == commands[1] != commands[2]


def test_without_a_kernel_the_bare_guest_is_all(
    paths: Paths, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm_probe, "kernel_to_try", lambda paths: None)
    play(PASSED)
    verdict = probe_kvm(paths)
    assert verdict.level is KvmLevel.BARE_ELF
    assert "no kernel yet" in verdict.evidence


def test_a_verdict_is_remembered(paths: Paths, kernel: Path, play: Play) -> None:
    play(PASSED, PASSED)
    first = probe_kvm(paths, kernel)
    assert probe_kvm(paths, kernel) == first
    assert stat.S_IMODE(paths.kvm_verdict.stat().st_mode) == 0o600
    play(*SILENT_TWICE)
    assert probe_kvm(paths, kernel, refresh=True).level is KvmLevel.OPENS_ONLY
    assert probe_kvm(paths, kernel).level is KvmLevel.OPENS_ONLY


@pytest.mark.parametrize("change", ["kernel", "qemu", "boot"])
def test_what_the_verdict_rests_on_is_compared(
    change: str, paths: Paths, kernel: Path, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(PASSED, PASSED)
    probe_kvm(paths, kernel)
    if change == "boot":
        monkeypatch.setattr(process, "boot_id", lambda: "another")
    else:
        (kernel if change == "kernel" else kernel.with_name("qemu")).write_bytes(b"another")
    play(*SILENT_TWICE)
    assert probe_kvm(paths, kernel).level is KvmLevel.OPENS_ONLY
    if change == "boot":
        assert len(json.loads(paths.kvm_verdict.read_text())) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff", b'{"k": 1}', b'{"k": {}}', b'{"k": {"level": "linux", "x": 1}}'],
)
def test_a_damaged_cache_is_no_obstacle(
    content: bytes, paths: Paths, kernel: Path, play: Play
) -> None:
    paths.kvm_verdict.parent.mkdir(parents=True)
    paths.kvm_verdict.write_bytes(content)
    play(PASSED, PASSED)
    assert probe_kvm(paths, kernel).boots_linux


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    paths: Paths, kernel: Path, play: Play
) -> None:
    paths.cache.parent.mkdir(parents=True)
    paths.cache.write_text("a file where the folder should be")
    play(PASSED, PASSED)
    assert probe_kvm(paths, kernel).boots_linux


def test_the_device_is_looked_at_every_time(
    paths: Paths, kernel: Path, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(PASSED, PASSED)
    probe_kvm(paths, kernel)
    refused = KvmVerdict(KvmLevel.REFUSED, "/dev/kvm: Permission denied")
    monkeypatch.setattr(kvm_probe, "_open_device", lambda: refused)
    assert probe_kvm(paths, kernel) is refused


def test_devices_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_probe, "_DEVICE", tmp_path / "kvm")
    assert kvm_probe._open_device().level is KvmLevel.MISSING
    (tmp_path / "kvm").touch()
    assert kvm_probe._open_device().level is KvmLevel.MISSING


def test_a_device_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert kvm_probe._open_device().level is KvmLevel.REFUSED


@pytest.fixture
def no_qemu(play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str, package: str) -> Path:
        raise HostNotReady("missing")

    monkeypatch.setattr(kvm_probe, "find_program", missing)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_qemu")
def test_without_a_vmm_nothing_is_tried(paths: Paths) -> None:
    assert "neither QEMU nor Firecracker is installed" in probe_kvm(paths).evidence


@pytest.mark.usefixtures("no_qemu")
def test_without_qemu_firecracker_tries_plain_kernels(
    paths: Paths, kernel: Path, play: Play, tmp_path: Path
) -> None:
    program = tmp_path / "given" / "firecracker"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Firecracker v1.12.1'\n")
    program.chmod(0o755)
    tmp_path.chmod(0o700)
    taken = take_given(paths.firecracker, program)
    play(PASSED)
    assert "no kernel yet" in probe_kvm(paths, kernel).evidence
    kernel.write_bytes(b"\x7fELF")
    commands = play(PASSED, PASSED)
    assert probe_kvm(paths, kernel).boots_linux
    assert [command[0] for command in commands] == [str(taken.path)] * 2


@pytest.mark.parametrize(("flags", "seconds"), [("fpu vmx sse", 64.0), ("svm", 64.0), ("fpu", 8.0)])
def test_a_cpu_that_can_virtualize_is_given_time(
    flags: str,
    seconds: float,
    paths: Paths,
    kernel: Path,
    play: Play,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []

    def trial(argv: tuple[str, ...], proof: str, timeout: float) -> Trial:
        given.append(timeout)
        return PASSED

    play()
    give_trials(monkeypatch, trial)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(kvm_probe, "_CPUINFO", cpuinfo)
    probe_kvm(paths, kernel)
    assert given == [seconds * 5 / 8, seconds]


def test_the_newest_images_kernel_is_tried(paths: Paths) -> None:
    assert kernel_to_try(paths) is None or "/boot/" in str(kernel_to_try(paths))
    for name in ("older", "newer"):
        (paths.images / name).mkdir(parents=True)
        (paths.images / name / "vmlinux").write_text("x")
    os.utime(paths.images / "older" / "vmlinux", (1, 1))
    assert kernel_to_try(paths) == paths.images / "newer" / "vmlinux"


def test_linux_is_tried_as_the_driver_runs_it() -> None:
    assert X86_64.machine == kvm_probe.MACHINE
    assert X86_64.cpu["kvm"] == kvm_probe.CPU


@pytest.mark.parametrize(
    "line",
    [
        "[    1.0] Run /init as init process",
        "[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        "[    1.0] Kernel panic - not syncing: No working init found.",
        "[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000",
    ],
)
def test_a_kernel_that_came_to_its_end_lives(line: str) -> None:
    assert re.search(kvm_probe._LINUX_LIVES, line)


@pytest.mark.parametrize(
    "line", ["Linux version 6.1.0", "Kernel panic - not syncing: Fatal exception in interrupt"]
)
def test_a_kernel_that_only_began_does_not(line: str) -> None:
    assert not re.search(kvm_probe._LINUX_LIVES, line)
