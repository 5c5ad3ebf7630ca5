"""What the agent tells about the guest as a whole, and does to it: facts, clock, power."""

from __future__ import annotations

import os
import sys
import time

_SIGPIPE = 13
#: Init looks for this file before it hands over to systemd.
_REQUEST = "/run/banger/power-off"
#: Systemd is waited for if it comes; then each way is tried only if the one before it failed.
_POWER_OFF = """
while [ -e /run/banger/systemd ] && [ ! -S /run/systemd/private ]; do sleep 0.1; done
systemctl poweroff || poweroff || busybox poweroff
"""


def facts() -> dict[str, object]:
    """Cheap facts: nothing here starts a program."""
    return {
        "uptime": time.clock_gettime(time.CLOCK_BOOTTIME),
        "time": time.time(),
        "boot_id": _read("/proc/sys/kernel/random/boot_id"),
        "load": list(os.getloadavg()),
        "hostname": os.uname().nodename,
        "kernel": os.uname().release,
        "python": ".".join(map(str, sys.version_info[:3])),
        "init": _read("/proc/1/comm"),
        "systemd": _systemd(),
    }


def _systemd() -> str:
    """``running`` when systemctl works, ``starting`` if it soon will, ``none`` if never.

    With the fast profile commands can come before systemd does.
    """
    if os.path.exists("/run/systemd/private"):
        return "running"
    return "starting" if os.path.exists("/run/banger/systemd") else "none"


def set_clock(seconds: float) -> None:
    """Set the guest's clock to a Unix time."""
    time.clock_settime(time.CLOCK_REALTIME, seconds)


def start_power_off() -> int:
    """Ask the guest's init to power off; the pid of the request, 0 if it was done directly."""
    if _systemd() == "none" and _read("/proc/1/comm") != "init":
        # A shell, or what else runs there, knows no order in which to stop.
        power_off_now()
        return 0
    with open(_REQUEST, "wb"):
        pass
    argv = ["/bin/sh", "-c", _POWER_OFF]
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
        return os.posix_spawn(
            *(argv[0], argv, {"PATH": path}),
            file_actions=actions,
            setsid=True,
            setsigdef=(_SIGPIPE,),
        )
    finally:
        os.close(null)


def power_off_now() -> None:
    """Power off without asking anybody, with what is written on the disks made safe."""
    os.sync()
    with open("/proc/sysrq-trigger", "wb", buffering=0) as trigger:
        trigger.write(b"o")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
