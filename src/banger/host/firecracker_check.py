"""Checks Firecracker for ``doctor``: which one is there, and whether a bare guest runs in it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from banger.errors import BangerError
from banger.host.command import as_root
from banger.host.finding import Check, Status
from banger.host.firecracker_binary import FirecrackerBinary, find_firecracker
from banger.host.tiny_guest import tiny_guest
from banger.host.trial import Trial, run_trial

#: Seconds for a guest that takes 0.05.
TIMEOUT = 5.0
_PURPOSE, _NEEDED_FOR = "runs VMs with KVM", "--vmm firecracker"
_GREETING = "banger: a bare guest runs"


def firecracker_check(folder: Path) -> Check:
    """Find, verify and try the program; ``folder`` is where a taken one lies."""
    try:
        program = find_firecracker(folder)
    except BangerError as error:
        found = error.brief if (folder / "taken.json").exists() else "not installed"
        mend = error.resolution if found != "not installed" else "nothing to do: VMs run on QEMU"
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
    with tempfile.TemporaryDirectory(prefix="banger-firecracker-") as scratch:
        kernel, config = Path(scratch, "kernel"), Path(scratch, "config.json")
        kernel.write_bytes(tiny_guest(f"{_GREETING}\n".encode(), "reset"))
        # Its own words go elsewhere: on the console they could fall into the guest's.
        log = Path(scratch, "log")
        log.touch()
        document = {
            "logger": {"log_path": str(log), "level": "Error"},
            "boot-source": {"kernel_image_path": str(kernel), "boot_args": "console=ttyS0"},
            "machine-config": {"vcpu_count": 1, "mem_size_mib": 64},
            "drives": [],
        }
        config.write_text(json.dumps(document))
        argv = (str(program.path), "--no-api", "--config-file", str(config))
        return run_trial(argv, _GREETING, TIMEOUT)


def _failed(what: str, cause: str) -> Check:
    found = f"{what}, but no guest runs in it: {cause}"
    mend = as_root("chmod 666 /dev/kvm") if "ermission denied" in cause else "ls -l /dev/kvm"
    return Check("firecracker", _PURPOSE, Status.WARN, found, mend, _NEEDED_FOR)
