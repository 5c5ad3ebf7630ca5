from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from banger.errors import HostNotReady
from banger.host import process
from banger.host.command import Command, run_blocking
from banger.host.trial import Trial, qemu_argv, run_bare_trial, run_trial


def shell(script: str, mark: str) -> tuple[str, ...]:
    return ("sh", "-c", script, mark)


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    return f"banger-trial-{os.getpid()}-{request.node.name.replace('_', '-')}"


def test_proof_of_life_ends_the_trial(mark: str) -> None:
    trial = run_trial(shell("echo alive; exec sleep 60", mark), "ali.e", timeout=20)
    assert trial.passed
    assert not trial.ended
    assert trial.seconds < 20
    assert trial.console == "alive\n"
    assert process.find_by_argument(mark) == []


def test_silence_is_cut_off(mark: str) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    trial = run_trial((sys.executable, "-c", deaf, mark), "alive", 0.3)
    assert (trial.passed, trial.ended, trial.last_words()) == (False, False, "")
    assert process.find_by_argument(mark) == []


def test_who_goes_on_printing_is_only_slow(mark: str) -> None:
    slow = "for n in 1 2 3 4; do sleep 0.5; echo $n; done; echo alive; exec sleep 60"
    assert run_trial(shell(slow, mark), "alive", timeout=1.2).passed
    endless = "while sleep 0.1; do echo; done"
    trial = run_trial(shell(endless, mark), "alive", timeout=0.5)
    assert (trial.passed, trial.ended) == (False, False)
    assert process.find_by_argument(mark) == []


def test_a_bare_guest_is_silent_only_if_it_is_so_twice(mark: str, tmp_path: Path) -> None:
    before = tmp_path / "before"
    once = f"test -e {before} && echo alive; echo x >> {before}; exec sleep 60"
    assert run_bare_trial(shell(once, mark), "alive", 1).passed
    trial = run_bare_trial(shell(f"echo x >> {before}; exec sleep 60", mark), "alive", 0.5)
    assert (trial.passed, trial.ended) == (False, False)
    assert before.read_text() == 4 * "x\n"
    assert process.find_by_argument(mark) == []


def test_a_bare_guest_whose_vmm_ends_is_not_tried_again(mark: str, tmp_path: Path) -> None:
    before = tmp_path / "before"
    trial = run_bare_trial(shell(f"echo x >> {before}; exit 1", mark), "alive", 20)
    assert (trial.passed, trial.ended) == (False, True)
    assert run_bare_trial(shell(f"echo x >> {before}; echo alive", mark), "alive", 20).passed
    assert before.read_text() == 2 * "x\n"


def test_a_vmm_that_ends_says_why(mark: str) -> None:
    trial = run_trial(shell("echo boot; echo no such CPU >&2; exit 1", mark), "alive", 20)
    assert (trial.passed, trial.ended) == (False, True)
    assert trial.last_words() == "no such CPU"
    assert Trial(False, 0, "a\n\nb\n\n", " ", ended=True).last_words() == "b"


def test_a_proof_just_before_the_end_counts(mark: str) -> None:
    assert run_trial(shell("echo alive", mark), "alive", 20).passed


def test_the_vmm_ends_with_us(tmp_path: Path) -> None:
    """Whoever runs a trial is killed without warning: the guest does not stay behind."""
    pids = tmp_path / "pids"
    guest = f"echo $$ > {pids}.new; mv {pids}.new {pids}; exec sleep 60"
    script = (
        "import sys; from banger.host.trial import run_trial;"
        f"run_trial(('sh', '-c', {guest!r}), 'never', 60)"
    )
    killer = (
        f'{sys.executable} -c "$1" & while ! test -e {pids}; do sleep 0.05; done;kill -9 $!; wait'
    )
    source = str(Path(__file__).parents[3] / "src")
    argv = ("sh", "-c", killer, "sh", script)
    run_blocking(Command(argv, env={"PYTHONPATH": source}, ok_statuses=(0, 137)))
    pid = int(pids.read_text())
    deadline = time.monotonic() + 5
    while process.start_ticks(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    ticks = process.start_ticks(pid)
    if ticks is not None:
        process.kill_exact(pid, ticks, signal.SIGKILL)
    assert ticks is None


def test_a_missing_vmm_is_told() -> None:
    with pytest.raises(HostNotReady):
        run_trial(("no-such-vmm",), "x", 1)


def test_the_qemu_command() -> None:
    argv = qemu_argv("kvm", "host", "microvm", Path("/k"))
    assert argv[argv.index("-accel") + 1] == "kvm"
    assert argv[argv.index("-kernel") + 1] == "/k"
