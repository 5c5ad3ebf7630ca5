"""The wiring on a real systemd-resolved, in namespaces of its own that end with the test.

It is taken from the archive, not installed: its package would take over the machine's resolver.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import archive
from tests.requirements import needs

pytestmark = needs("root", "tap", "net")

#: Runs as "sh -c SCRIPT FOLDER PYTHON": a bus, the resolver and our server, then the trial.
SCRIPT = """
set -e
folder=$0 python=$1
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/systemd/resolve
chown 997:997 /run/systemd/resolve
sed '$a systemd-resolve:x:997:997::/:/usr/sbin/nologin' /etc/passwd >/run/passwd
sed '$a systemd-resolve:x:997:' /etc/group >/run/group
mount --bind /run/passwd /etc/passwd
mount --bind /run/group /etc/group
ip link set lo up
dbus-daemon --config-file="$folder/bus.conf" --nofork 2>"$folder/bus.log" & bus=$!
while ! [ -S /run/dbus/system_bus_socket ]; do sleep 0.05; done
"$folder/lib/systemd/systemd-resolved" 2>"$folder/resolved.log" & resolver=$!
export XDG_DATA_HOME="$folder/data"
"$python" -m banger.mapdns.main set web 10.208.0.2 >/dev/null
"$python" -m banger.mapdns.main serve --port 5300 >"$folder/server.log" & server=$!
trap 'kill $server $resolver $bus; wait' EXIT
"$python" "$folder/trial.py"
"""
BUS = """<busconfig>
<type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
</policy></busconfig>
"""
TRIAL = """
import fcntl, json, os, pathlib, struct, subprocess, sys, time
from banger.privileged import execute, programs
from banger.privileged.calls import CallFailed, ResolvedClear, ResolvedSet, TapCreate, TapDelete

folder = pathlib.Path(__file__).parent
programs._FOLDERS = (*programs._FOLDERS, str(folder / "usr/bin"))
tap, alias, server = "bgr0123456789ab", "banger:0:0123456789ab", "127.0.0.153:5300"

def resolvectl(*arguments):
    argv = [folder / "usr/bin/resolvectl", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""

deadline = time.monotonic() + 20
while not resolvectl("status") and time.monotonic() < deadline:
    time.sleep(0.1)
make = TapCreate(tap, 0, alias, "10.208.0.1/30", "10.208.0.2", "02:00:00:00:00:01")
execute.perform([make], 0)
vmm = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(vmm, 0x400454CA, struct.pack("16sH22x", tap.encode(), 0x2 | 0x1000 | 0x4000))
seen = {"before": resolvectl("query", "web.vm")}
for _ in range(2):
    execute.perform([ResolvedSet(tap, alias, server)], 0)
seen["set"], deadline = "", time.monotonic() + 10
while not seen["set"] and time.monotonic() < deadline:  # the server may only be starting
    seen["set"] = resolvectl("query", "web.vm")
other = "bgrabcdef012345"
execute.perform([TapCreate(
    other, 5, "banger:5:abcdef012345", "10.208.8.1/30", "10.208.8.2", "02:00:00:00:00:02")], 5)
try:
    execute.perform([ResolvedSet(other, "banger:5:abcdef012345", "127.0.0.153:5301")], 5)
except CallFailed as failure:
    seen["second"] = f"{failure.reason}: {failure.text}"
execute.perform([TapDelete(other, "banger:5:abcdef012345")], 5)
seen["absent"] = resolvectl("query", "none.vm")
seen["link"] = resolvectl("status", tap)
execute.perform([ResolvedClear(tap, alias)], 0)
seen["cleared"] = resolvectl("query", "web.vm")
execute.perform([ResolvedSet(tap, alias, server), TapDelete(tap, alias)], 0)
os.close(vmm)
execute.perform([ResolvedClear(tap, alias)], 0)
seen["gone"] = resolvectl("query", "web.vm")
print(json.dumps(seen))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (package,) = archive.download(tmp_path, "systemd-resolved")
    subprocess.run(["dpkg", "-x", package, tmp_path], check=True)
    if not Path("/usr/bin/dbus-daemon").exists():
        pytest.skip("dbus-daemon is not installed (Debian package dbus-daemon)")
    (tmp_path / "bus.conf").write_text(BUS)
    (tmp_path / "trial.py").write_text(TRIAL)
    tmp_path.chmod(0o755)
    return tmp_path


def test_systemd_resolved_asks_us_for_vm_alone(folder: Path) -> None:
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    done = subprocess.run(
        [*argv, "sh", "-c", SCRIPT, str(folder), sys.executable],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    logs = "".join(path.read_text() for path in folder.glob("*.log"))
    assert done.returncode == 0, f"{done.stderr}{logs}"
    seen = json.loads(done.stdout)
    assert "10.208.0.2" in seen["set"], logs
    assert [key for key, text in seen.items() if "10.208.0.2" in text] == ["set"]
    assert "~vm" in seen["link"]
    assert "foreign: systemd-resolved asks for .vm at user 0's" in seen["second"]
    assert "-DefaultRoute" in seen["link"]
