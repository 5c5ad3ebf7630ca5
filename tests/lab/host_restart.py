"""A restart of the lab host, as far as banger can tell: all that a kernel holds is gone."""

from __future__ import annotations

import time

from tests.plugins.lab import LabHome

#: Nothing runs; no interface, rule, device, group or file in /run is left; another boot id.
#: The user's bangerd is stopped before: it must not see its VMs die.
_SCRIPT = """user=$0 runtime=$1
pkill -STOP -u "$user"; pkill -KILL firecracker; pkill -KILL -u "$user"
while pgrep firecracker || pgrep -u "$user"; do sleep 0.1; done >/dev/null
for tap in $(ls /sys/class/net | grep ^bgr); do ip link delete "$tap"; done
nft flush ruleset
dmsetup remove_all --force --noudevsync
for loop in $(losetup --noheadings --list --output NAME); do losetup --detach "$loop"; done
rm -rf "${runtime:?}"/* /run/banger*
rmdir /sys/fs/cgroup/banger-*/* /sys/fs/cgroup/banger-*
cat /proc/sys/kernel/random/uuid >/tmp/uuid
mount --bind /tmp/uuid /proc/sys/kernel/random/boot_id
dmsetup ls; losetup --list --noheadings; ip -o link | grep bgr; nft list tables
find /run/banger* "$runtime" -mindepth 1
ls -d /sys/fs/cgroup/banger-*
"""


def restart(home: LabHome) -> None:
    """Restart the host of ``home``, whose user is not root. Asserts that nothing survived."""
    runtime = home.environment["XDG_RUNTIME_DIR"]
    done = home.session.control.run("sh", "-c", _SCRIPT, home.user, runtime, timeout=120)
    assert done.stdout == b"No devices found\n", (done.stdout, done.stderr)


def until_found_ended(home: LabHome, name: str) -> None:
    """The first daemon after the restart finds the VM dead, and knows what ended it."""
    deadline = time.monotonic() + 120
    while (vm := home.json("show", name))["state"] != "stopped":
        assert time.monotonic() < deadline, vm
        time.sleep(0.5)
    assert (vm["last_exit"]["reason"], vm["pid"]) == ("host-reboot", 0), vm
