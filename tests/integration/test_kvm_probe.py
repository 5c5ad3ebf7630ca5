"""The KVM probe with the real QEMU: its guests boot, and its verdict is one that it may give."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from banger.drivers.vmm.architecture import X86_64
from banger.host import kvm_probe, process
from banger.host.kvm_probe import KvmLevel, probe_kvm
from banger.host.tiny_guest import tiny_guest
from banger.host.trial import Trial, qemu_argv, run_trial
from banger.host.tsc import tsc_khz
from banger.paths import Paths
from tests.firecracker_program import firecracker_program
from tests.requirements import needs

pytestmark = needs("qemu")


def test_the_bare_guest_boots_and_is_gone(tmp_path: Path) -> None:
    kernel = tmp_path / "bare.elf"
    kernel.write_bytes(tiny_guest(b"a bare guest runs\n"))
    trial = run_trial(qemu_argv("tcg", "qemu64", "microvm", kernel), "a bare guest runs", 30)
    assert trial.passed, trial
    assert process.find_by_argument(str(kernel)) == []


def test_a_guest_that_is_no_kernel_is_told(tmp_path: Path) -> None:
    kernel = tmp_path / "text"
    kernel.write_text("not a kernel")
    trial = run_trial(qemu_argv("tcg", "qemu64", "microvm", kernel), "never", 30)
    assert (trial.passed, trial.ended) == (False, True)
    assert trial.last_words()


def test_the_bare_guest_of_the_probe_needs_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trials: list[Trial] = []

    def emulated(argv: tuple[str, ...], proof: str, timeout: float) -> Trial:
        assert list(tmp_path.iterdir()) == []
        argv = tuple("tcg" if word == "kvm" else word for word in argv)
        trials.append(run_trial(argv, proof, 10 * timeout))
        return trials[-1]

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(kvm_probe, "run_bare_trial", emulated)
    vmm = kvm_probe._vmm_to_try(Paths.from_environment({"HOME": str(tmp_path)}, 0))
    assert vmm is not None
    kvm_probe._try_guests(vmm, None)
    assert [trial.passed for trial in trials] == [True], trials


@needs("image")
def test_a_booted_linux_is_recognised(built_image: Path) -> None:
    *argv, arguments = qemu_argv("tcg", "max", kvm_probe.MACHINE, built_image / "vmlinux")
    # KVM has a clock of its own for guests; here the kernel must be told of one.
    clock = X86_64.kernel_arguments("tcg", tsc_khz())
    trial = run_trial((*argv, " ".join((arguments, *clock))), kvm_probe._LINUX_LIVES, 60)
    assert trial.passed, trial
    # Few words, for each costs time, but some: whoever is silent is given up.
    # How much of the panic's own report is there is chance.
    said = trial.console.partition("Kernel panic")[0]
    assert 3 <= len(said.splitlines()) < 40, trial.console


@needs("firecracker", "bare-kvm")
def test_firecracker_proves_kvm_where_qemu_is_missing() -> None:
    vmm = kvm_probe._Trier("Firecracker", firecracker_program().path, elf=True)
    verdict = kvm_probe._try_guests(vmm, None)
    assert verdict.level is KvmLevel.BARE_ELF, verdict


@pytest.mark.skipif(not Path("/dev/kvm").exists(), reason="/dev/kvm does not exist")
def test_the_verdict_of_this_machine_is_remembered(tmp_path: Path) -> None:
    paths = Paths.from_environment({"HOME": str(tmp_path)}, 0)
    verdict = probe_kvm(paths)
    assert verdict.level is not KvmLevel.MISSING or "not answer" in verdict.evidence
    if verdict.level is not KvmLevel.REFUSED:
        assert verdict.seconds < 15
        assert paths.kvm_verdict.exists()
    assert probe_kvm(paths) == verdict
