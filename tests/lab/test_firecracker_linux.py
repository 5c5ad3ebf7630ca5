"""What is special to Firecracker with Linux in it: console, keys, ends, other disks and kernels.

One VM in the order of its life; what every VMM does for its user is in ``test_user``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.session import Session
from tests.own_files import OwnKernel, own_kernel
from tests.plugins.lab import LabHome
from tests.requirements import needs

pytestmark = needs("lab")
PATIENCE = 120.0
#: Of the kernel's modules: one that no initrd has, and those of the road to the agent.
MODULES = (
    *("modules.builtin", "modules.builtin.modinfo", "modules.order"),
    *("kernel/drivers/block/nbd.ko", "kernel/net/vmw_vsock/vsock.ko"),
    "kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko",
    "kernel/net/vmw_vsock/vmw_vsock_virtio_transport_common.ko",
)
NOTES = "cd /work; echo kept | tee /root/note >note; sync"
#: Prints who it is, MiB of memory and of /work, and both notes.
LOOK = """hostname; free -m | awk '/^Mem:/ { print $2 }'; df -m --output=size /work | tail -n 1
cat /root/note 2>/dev/null || echo none; cd /work; cat note"""


@pytest.fixture(scope="module")
def own() -> OwnKernel:
    return own_kernel()


@pytest.fixture(scope="module")
def lab(own: OwnKernel) -> Iterator[Session]:
    """With Debian's kernel package and what its scripts made, in ``/opt/banger``."""
    folder, version = own.modules.parent, own.version
    names = [f"modules/{version}/{name}" for name in MODULES]
    boot = [str(path.relative_to(folder)) for path in (own.kernel, own.small_initrd)]
    with Session(more=["-C", str(folder), *boot, *names]) as session:
        yield session


@pytest.fixture(scope="module")
def banger(lab: Session) -> LabHome:
    return LabHome(lab, "/root/h")


def vm_of(banger: LabHome, name: str = "web") -> dict[str, Any]:
    found: dict[str, Any] = banger.json("show", name)
    return found


def look(banger: LabHome, name: str) -> tuple[str, int, int, str, str]:
    host, memory, work, *notes = banger.ok("exec", name, "--", "sh", "-c", LOOK).split()
    return (host, int(memory), int(work), notes[0], notes[1])


def test_the_console_is_a_terminal(banger: LabHome) -> None:
    banger.ok("run", "--name", "web", "--vcpu", "1", "--memory", "256", "--disk-size", "64M")
    vm = vm_of(banger)
    assert (vm["vmm"], vm["accelerator"], vm["storage"]) == ("firecracker", "kvm", "dm_snapshot")
    talk = ("leave", "\r", "web:~#", "echo keys-$((40 + 2))\r", "keys-42", "\x1d")
    program = Path(__file__).with_name("terminal.py").read_text()
    done = banger.on_host("python3", "-c", program, "web", *talk)
    print(done.stdout.decode(errors="replace"))
    assert done.returncode == 0, done.stderr


def test_a_user_of_the_guest_is_not_the_host(banger: LabHome) -> None:
    # Nobody answers at all, for which Linux would wait 2 s.
    script = """import socket; s = socket.socket(socket.AF_VSOCK); s.settimeout(0.5)
try: s.connect((1, 1023)); s.settimeout(5); print(s.recv(1) or 'refused')
except OSError as error: print('refused')"""
    assert banger.ok("exec", "web", "--", "python3", "-c", script) == "refused\n"


def test_without_an_agent_ctrl_alt_del_stops_in_order(banger: LabHome) -> None:
    banger.ok("exec", "web", "--", "sh", "-c", NOTES)
    # By SSH: the end of a command is not told by an agent that it stops.
    end = "systemctl stop banger-agent; systemctl is-active banger-agent"
    assert banger("ssh", "web", "--", end).status == 3
    banger.ok("stop", "web", "--timeout", "45s")
    vm = vm_of(banger)
    assert (vm["state"], vm["last_exit"]["reason"]) == ("stopped", "stopped"), vm["last_exit"]
    # The guest itself went down: what had no time to be written is there at the next start.
    assert "reboot: Restarting system" in banger.ok("logs", "web", "--raw")


def test_a_stopped_vm_grows_is_copied_and_gets_a_new_root(banger: LabHome) -> None:
    before = vm_of(banger)
    more = f"{(before['overlay_bytes'] >> 20) + 64}M"
    sizes = ("--memory", "288M", "--disk-size", "96M", "--overlay-size", more)
    banger.ok("vm", "set", "web", *sizes)
    banger.ok("vm", "clone", "web", "copy")
    banger.ok("vm", "rebuild", "web", "--yes")
    for name in ("web", "copy"):  # not side by side: a guest then hung once in four runs here
        banger.ok("start", name)
        vm = vm_of(banger, name)
        assert (vm["address"] == before["address"]) == (name == "web")
        assert vm["overlay_bytes"] == before["overlay_bytes"] + (64 << 20)
        status = banger.session.shell(f"dmsetup status banger-0-{vm['id']}").split()
        assert int(status[3].split("/")[1]) * 512 >= vm["overlay_bytes"]
        host, memory, work, root_note, work_note = look(banger, name)
        assert (host, work_note) == (name, "kept")
        assert memory > 256 - 40 + 20
        assert work > 64
        assert root_note == ("kept" if name == "copy" else "none")
        if name == "web":
            banger.ok("kill", name)


def test_a_panic_is_told_apart(banger: LabHome) -> None:
    banger("exec", "copy", "--", "sh", "-c", "echo c >/proc/sysrq-trigger")
    deadline = time.monotonic() + PATIENCE
    while (vm := vm_of(banger, "copy"))["state"] == "running":
        assert time.monotonic() < deadline, "the guest does not end"
        time.sleep(0.5)
    assert vm["last_exit"]["reason"] == "guest-panic"
    assert "Kernel panic" in vm["last_exit"]["detail"]
    banger.ok("rm", "--force", "web", "copy")


def test_debians_kernel_with_debians_initrd(banger: LabHome, own: OwnKernel) -> None:
    """Linux 6.1 as its package has it, which this Firecracker does not boot: it is unpacked."""
    here, version = "/opt/banger", own.version
    head = banger.session.shell(f"head -c 4 {here}/boot/{own.kernel.name}")
    assert head[1:] != "ELF"
    banger.session.shell(
        f"cd {here}; mkdir -p own/lib; mv modules own/lib; depmod -b own {version}"
    )
    files = ("--kernel", f"{here}/boot/{own.kernel.name}", "--modules", f"{here}/own")
    initrd = ("--initrd", f"{here}/boot/{own.small_initrd.name}")
    image = banger.json("image", "list")[0]["id"]
    rootfs = f"{banger.root}/state/banger/images/{image}/rootfs.ext4"
    banger.ok(
        *("run", "--name", "deb", "--vcpu", "1", "--memory", "384M"),
        *("--rootfs", rootfs, *files, *initrd),
    )
    script = "uname -r; hostname; modprobe nbd && ls /dev/nbd0"
    said = banger.ok("exec", "deb", "--", "sh", "-c", script)
    assert said == f"{version}\ndeb\n/dev/nbd0\n"
    assert vm_of(banger, "deb")["vmm"] == "firecracker"
    banger.ok("rm", "--force", "deb")
    left = banger.session.shell("dmsetup ls; losetup -l --noheadings; pgrep firecracker || true")
    assert left == "No devices found\n"
