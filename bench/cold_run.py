"""From ``banger run`` to the end of the first SSH command, against the same QEMU by hand."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from banger.client.client import BangerClient
from bench.measure import Goal, interleaved, report
from tests.plugins.built_image import BuiltImage, ensure_built
from tests.plugins.home import Home

TAP = "bgrbyhand"
#: Options of QEMU that both must share for the comparison to mean anything.
SHARED = {"-machine", "-accel", "-cpu", "-smp", "-m", "-append", "-object"}


def _shared_options(argv: list[str]) -> list[str]:
    """Machine, processor, memory and kernel line out of what banger's VMM really runs."""
    kept: list[str] = []
    for option, value in itertools.pairwise(argv):
        if option in SHARED or value.startswith("virtio-rng-device"):
            kept += [option, value]
    return kept


def _network(lease: dict[str, Any]) -> tuple[list[list[str]], str]:
    """What ``ip`` must be told first, and QEMU's netdev, for the interface of ``lease``."""
    if lease["kind"] != "tap":
        return [], f"user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:{lease['ssh_port']}-:22"
    commands = [
        ["tuntap", "add", "dev", TAP, "mode", "tap"],
        ["address", "add", f"{lease['gateway']}/{lease['prefix_length']}", "dev", TAP],
        ["link", "set", TAP, "up"],
        [
            *("neigh", "replace", lease["address"], "lladdr", lease["mac"]),
            *("dev", TAP, "nud", "permanent"),
        ],
    ]
    return commands, f"tap,id=net,ifname={TAP},script=no,downscript=no"


def prepare(home: Home, image: BuiltImage, folder: Path) -> None:
    """Fill ``folder`` for by_hand.py from a VM that banger made and stopped."""
    home.ok("run", "--name", "hand")
    client = BangerClient(str(home.paths.socket))
    vm_id = client.vm("hand")["id"]
    ssh = client.access("hand")["ssh"]
    record = json.loads(home.paths.vm_record(vm_id).read_text(encoding="utf-8"))
    home.ok("stop", "hand")
    lease = record["meta"]["lease"]
    commands, netdev = _network(lease)
    argv: list[str] = record["config"]["argv"]
    qemu = [
        *(argv[0], *_shared_options(argv)),
        *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-serial", f"file:{folder}/console.log"),
        *("-netdev", netdev, "-device", f"virtio-net-device,netdev=net,mac={lease['mac']}"),
        *("-chardev", "null,id=agent", "-device", "virtio-serial-device"),
        *("-device", "virtserialport,chardev=agent,name=banger.0"),
    ]
    hand = {
        "qemu": qemu,
        "tap": commands,
        "ssh": ssh,
        "host": lease["ssh_host"],
        "port": lease["ssh_port"],
    }
    (folder / "hand.json").write_text(json.dumps(hand), encoding="utf-8")
    (folder / "initrd.cpio").write_bytes(home.paths.vm_initrd(vm_id).read_bytes())
    for name in ("rootfs.ext4", "vmlinux"):
        (folder / name).symlink_to(image.folder / name)


def _by_hand(folder: Path) -> float:
    (folder / "overlay.qcow2").unlink(missing_ok=True)
    argv = [sys.executable, "-I", str(Path(__file__).with_name("by_hand.py")), str(folder)]
    started = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.monotonic() - started
    process.wait(60)
    subprocess.run(["ip", "link", "delete", TAP], capture_output=True, check=False)
    if line != b"done\n":
        raise SystemExit(f"the VM by hand did not answer (status {process.returncode})")
    return seconds


def _with_banger(home: Home) -> float:
    started = time.monotonic()
    home.ok("run", "--name", "cold")
    home.ok("ssh", "cold", "--", "true")
    seconds = time.monotonic() - started
    home.ok("rm", "--force", "cold")
    return seconds


def run(rounds: int) -> list[str]:
    """Both ways in turn, with the same image, kernel, initrd, profile and network."""
    home = Home(Path(tempfile.mkdtemp(prefix="bgr-")))
    try:
        image = ensure_built()
        image.give_to(home.paths)
        with tempfile.TemporaryDirectory(prefix="bgr-hand-") as name:
            prepare(home, image, Path(name))
            samples = interleaved(
                {
                    "QEMU by hand": lambda: _by_hand(Path(name)),
                    "banger run, ssh": lambda: _with_banger(home),
                },
                rounds,
            )
    finally:
        home.clear()
    lines = report(
        "cold start to first SSH command",
        samples,
        {
            "banger run, ssh": Goal(1.05, against="QEMU by hand"),
        },
    )
    return [*lines, f"  by hand is {_length()} lines long"]


def _length() -> int:
    return len(Path(__file__).with_name("by_hand.py").read_text(encoding="utf-8").splitlines())
