"""Reads the files of a boot: is the kernel one, why did the start fail, why did it end."""

from __future__ import annotations

from pathlib import Path

from banger.drivers.vmm import console_log
from banger.drivers.vmm.architecture import KERNEL_HEAD, of_host
from banger.drivers.vmm.base import BootSpec, VMMExit
from banger.drivers.vmm.firecracker import exit_reason, workspace
from banger.drivers.vmm.firecracker.version import Version
from banger.errors import InvalidInput, VMMFailed
from banger.host.files import explained

_TAIL, _HEAD = 64 * 1024, 4096


def check_kernel(kernel: Path, version: Version) -> None:
    """Raise ``InvalidInput`` for a file that is no kernel which this version boots."""
    with explained(f"read the kernel {kernel}"), kernel.open("rb") as file:
        head = file.read(KERNEL_HEAD)
    problem = of_host().kernel_problem(head)
    if not problem and head[:4] != b"\x7fELF" and not version.boots_bzimage:
        problem = f"it is compressed, and Firecracker {version} takes plain ones only"
    if problem:
        raise InvalidInput(
            f"{kernel} is not a kernel that can be booted",
            cause=problem,
            resolution="give a vmlinux of this architecture with --kernel",
        )


def start_failure(spec: BootSpec, cause: str) -> VMMFailed:
    """The error of a failed start; to be made while the folder is still there."""
    log = text_of(spec.log)
    stderr = text_of(workspace.folder_of(spec.monitor_socket) / workspace.STDERR)
    events = console_log.read_tail(spec.events, _HEAD)
    console = text_of(spec.console_log, exit_reason.console_start(events))
    parts = [
        ("Firecracker's log", exit_reason.tail(log), spec.log),
        ("its standard error", console_log.plain(stderr).strip(), None),
        ("the console", console_log.plain(console[-_HEAD:]).strip(), spec.console_log),
    ]
    details = [
        f"{title}:\n{text}" + (f"\n(from {path})" if path else "")
        for title, text, path in parts
        if text
    ]
    return VMMFailed(
        f"Firecracker could not start the VM {spec.vm_id}",
        cause=cause or exit_reason.said(log) or exit_reason.said(stderr) or "it ended at once",
        resolution="banger doctor",
        details="\n".join(details),
    )


def text_of(path: Path, start: int = 0) -> str:
    """The end of a log, from ``start`` on at most."""
    return console_log.read_tail(path, _TAIL, start)


def exit_of(events: Path, console: Path, log: Path) -> VMMExit:
    """Why the last boot ended, by its files."""
    told = console_log.read_tail(events, _TAIL)
    start = exit_reason.console_start(told)
    return exit_reason.exit_reason(told, text_of(console, start), text_of(log))
