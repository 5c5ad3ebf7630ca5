"""What a running QEMU was told to be: its argument list, and what in it makes the machine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from banger.host import process
from banger.model.vm import Machine

#: Options of QEMU that say what the machine is -> the name under which they are shown.
_OPTIONS = {
    "-machine": "machine",
    "-accel": "accelerator",
    "-cpu": "cpu",
    "-smp": "vcpus",
    "-m": "memory",
    "-append": "kernel_arguments",
}


def of_process(machine: Machine) -> dict[str, object]:
    """The configuration of the very process; empty if it is gone."""
    argv = process.argv_of(machine.pid)
    alive = process.start_ticks(machine.pid) == machine.start_ticks
    return of_arguments(argv) if argv and alive else {}


def of_arguments(argv: Sequence[str]) -> dict[str, object]:
    """The argument list with its meaning beside it; devices in the order of the list (pure)."""
    found: dict[str, object] = {
        _OPTIONS[option]: value for option, value in pairwise(argv) if option in _OPTIONS
    }
    devices = [value for option, value in pairwise(argv) if option == "-device"]
    return {**found, "devices": devices, "argv": list(argv)}
