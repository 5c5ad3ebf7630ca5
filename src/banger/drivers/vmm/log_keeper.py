"""Keeps the logs of VMs short while no daemon does: a small process that waits for its end.

A VMM appends to its log files for as long as it lives, and a guest decides how much. So the
daemon starts this process with the first VM. It sleeps until the daemon is gone, however that
ended, and works until there is another daemon or no VM runs any more. It needs nothing but the
standard library, and a few MiB.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from banger.drivers.vmm import console_log
from banger.host import process

#: Seconds between two looks.
PAUSE = 10.0
#: The files in a VM's folder that a guest can make grow.
LOGS = ("console.log", "vmm.log")
#: Imports nothing before there is something to do: until then it is as small as Python is.
_CODE = """
import os, sys
while os.read(0, 4096):
    pass
sys.path.insert(0, sys.argv.pop(1))
from banger.drivers.vmm.log_keeper import main
main(sys.argv[1:])
"""


class LogKeeper:
    """The daemon's side of it. ``vms`` holds the folders of VMs, ``daemon`` is its own socket.

    ``mark`` with a VM's id is what the VMM of that VM carries in its arguments.
    """

    def __init__(self, vms: Path, daemon: Path, mark: str, pause: float = PAUSE) -> None:
        self._arguments = (str(vms), str(daemon), mark, f"{pause:g}")
        #: The end of a pipe that nobody writes to: it is closed with this process.
        self._held = -1

    def start(self) -> int:
        """Start the process; its pid. Raises ``HostNotReady``."""
        from banger.host.spawn import spawn_detached  # the other side does without

        reader, self._held = os.pipe2(os.O_CLOEXEC)
        source = str(Path(__file__).parents[3])
        try:
            return spawn_detached(
                [sys.executable, "-I", "-S", "-c", _CODE, source, *self._arguments],
                env={"LC_ALL": "C.UTF-8"},
                stdin=reader,
                stdout=-3,
                stderr=-3,
                cwd=Path("/"),
            )
        finally:
            os.close(reader)

    def let_go(self) -> None:
        """What the end of the daemon does: from now on the logs are that process's to keep."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def main(arguments: Sequence[str]) -> None:
    """Keep the logs until somebody else does, or nobody needs to."""
    vms, daemon, mark, pause = arguments
    while not _answers(daemon) and (ids := _folders(Path(vms))) and _any_runs(ids, mark):
        for vm_id in ids:
            for name in LOGS:
                with contextlib.suppress(OSError):
                    console_log.bound(Path(vms, vm_id, name))
        time.sleep(float(pause))


def _answers(daemon: str) -> bool:
    """Whether there is a daemon again: it cuts the logs itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(daemon)
        except OSError:
            return False
        return True


def _folders(vms: Path) -> list[str]:
    try:
        return sorted(os.listdir(vms))  # noqa: PTH208 - names are wanted
    except OSError:
        return []


def _any_runs(ids: Sequence[str], mark: str) -> bool:
    return any(process.find_by_argument(mark + vm_id) for vm_id in ids)
