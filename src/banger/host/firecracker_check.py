"""Checks Firecracker for ``doctor``: which one is there, and whether a bare guest runs in it."""

from __future__ import annotations

from pathlib import Path

from banger.errors import BangerError
from banger.host.command import as_root
from banger.host.finding import Check, Status
from banger.host.firecracker_binary import FirecrackerBinary, find_firecracker
from banger.host.firecracker_trial import firecracker_argv
from banger.host.tiny_guest import tiny_guest
from banger.host.trial import Trial, in_memory, run_bare_trial

#: Seconds for a guest that takes 0.05.
TIMEOUT = 5.0
_PURPOSE, _NEEDED_FOR = "runs VMs with KVM", "--vmm firecracker"
_TAKE = "banger setup --firecracker fetch, or stay with --vmm qemu"
_GREETING = "banger: a bare guest runs"


def firecracker_check(folder: Path) -> Check:
    """Find, verify and try the program; ``folder`` is where a taken one lies."""
    try:
        program = find_firecracker(folder)
    except BangerError as error:
        found = error.brief if (folder / "taken.json").exists() else "not installed"
        mend = error.resolution if found != "not installed" else _TAKE
        return Check("firecracker", _PURPOSE, Status.WARN, found, mend, _NEEDED_FOR)
    what = f"{program.version} ({program.origin})"
    try:
        trial = try_firecracker(program)
    except BangerError as error:
        return _failed(what, error.cause or error.brief)
    if not trial.passed:
        return _failed(what, trial.last_words() or "it showed nothing")
    ran = f"{what}; a bare guest ran in {trial.seconds:.2f} s"
    return Check("firecracker", _PURPOSE, Status.OK, ran, "", _NEEDED_FOR)


def try_firecracker(program: FirecrackerBinary) -> Trial:
    """Boot a guest of a few hundred bytes without network, drives or API."""
    guest = tiny_guest(f"{_GREETING}\n".encode(), "reset")
    with (
        in_memory("banger-kernel", guest) as kernel,
        firecracker_argv(program.path, kernel, memory_mib=64) as argv,
    ):
        return run_bare_trial(argv, _GREETING, TIMEOUT)


def _failed(what: str, cause: str) -> Check:
    found = f"{what}, but no guest runs in it: {cause}"
    mend = as_root("chmod 666 /dev/kvm") if "ermission denied" in cause else "ls -l /dev/kvm"
    return Check("firecracker", _PURPOSE, Status.WARN, found, mend, _NEEDED_FOR)
