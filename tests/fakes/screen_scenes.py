"""What the pictures of the TUI show: a small house of VMs in every state, and stranger ones."""

from __future__ import annotations

from tests.fakes.daemon import FakeDaemon

GIB = 1 << 30
_PROBLEM = {
    "code": "vmm_failed", "brief": "web-2 could not be started",
    "cause": "QEMU ended with status 1: no room for its memory",
    "resolution": "banger vm set web-2 --memory 512M",
}  # fmt: skip


def empty(_fake: FakeDaemon) -> None:
    """Nothing at all."""


def household(fake: FakeDaemon) -> None:
    """One VM in each state, two images, an operation that failed."""
    fake.add_image("debian", used_by=["web", "db"])
    fake.add_image("docker", drift=True, allocated_bytes=1400 << 20)
    fake.add_vm("web", state="running", nat=True, overlay_used_bytes=int(6.9 * GIB),
                dns_name="web.vm", started_at="2026-01-02T04:00:00Z",
                forwards=[{"protocol": "tcp", "host_port": 8080, "guest_port": 80},
                          {"protocol": "udp", "host_port": 5353, "guest_port": 53}])  # fmt: skip
    fake.add_vm("db", state="running", vcpus=4, memory_mib=4096, work_disk_bytes=32 * GIB,
                overlay_used_bytes=2 * GIB, started_at="2026-01-01T05:00:00Z")  # fmt: skip
    fake.add_vm("cache", last_exit={"reason": "stopped", "at": "2026-01-02T04:00:00Z",
                                    "detail": ""})  # fmt: skip
    fake.add_vm("batch", last_exit={"reason": "guest-panic", "at": "2026-01-02T04:00:00Z",
                                    "detail": "VFS: Unable to mount root fs"})  # fmt: skip
    fake.add_vm("ci-runner", state="paused", warnings=["the overlay is 97 % full"],
                started_at="2026-01-02T02:00:00Z", overlay_used_bytes=int(7.8 * GIB),
                network="user", ssh_host="127.0.0.1", ssh_port=20022)  # fmt: skip
    fake.add_vm("web-2", state="failed", problem=_PROBLEM)
    fake.add_vm("build", state="starting")
    fake.add_vm("old", state="stopping")


def busy(fake: FakeDaemon) -> None:
    """Operations that run, and some that ended in each way."""
    household(fake)
    web, build = (next(v for v in fake.vms.values() if v["name"] == n) for n in ("web", "build"))
    fake.endless = {"vm.start", "image.build"}
    fake.failures = {"vm.restart": {**_PROBLEM, "brief": "web could not be restarted"}}
    fake.operate("vm.nat", web, lambda: None)
    fake.operate("vm.restart", web, lambda: None, ("stop VMM", "start VMM", "wait for SSH"))
    fake.operate("vm.start", build, lambda: None, ("make room", "start VMM", "wait for SSH"))
    image = next(iter(fake.images.values()))
    operation = fake.operate("image.build", image, lambda: None, ("download", "install", "pack"))
    operation["progress"] = {"title": "install packages", "fraction": 0.42, "detail": "libssl3"}


def crowd(fake: FakeDaemon) -> None:
    """A thousand VMs."""
    fake.add_image()
    for number in range(1000):
        fake.add_vm(f"vm-{number}", state="stopped" if number % 3 else "running")


def strange(fake: FakeDaemon) -> None:
    """Names as long as they may be, an image of that kind, text that wants to move the cursor."""
    long = "a-name-that-is-as-long-as-a-name-may-be-and-not-one-letter-more-"
    fake.add_image(long[:60], used_by=[f"vm-{number}" for number in range(30)])
    fake.add_vm(long, image=long[:60], directory="/home/somebody/" + "deep/" * 20)
    fake.add_vm("full", state="running", overlay_used_bytes=8 * GIB, vcpus=16, memory_mib=32768)
    fake.add_vm("own-files", image="", image_id="", state="running", nat=True)
    fake.add_vm("moves", state="failed", problem={
        "code": "failed", "brief": "the guest said \x1b[2J\x1b[31mred\nand more",
        "cause": "漢字 are two columns wide, é is one", "resolution": "banger logs moves",
    })  # fmt: skip


#: A console with expected noise, colours, a rewritten line and a long one.
CONSOLE = (
    b"[    0.000000] Linux version 6.1.0-40-cloud-amd64\r\n"
    b"[    0.012345] PCI: Fatal: No config space access function found\r\n"
    b"\x1b[32m[  OK  ]\x1b[0m Started \x1b[1mOpenBSD Secure Shell server\x1b[0m.\r\n"
    b"loading  10%\rloading  60%\rloading 100%\r\n" + b"x" * 200 + b"\r\n"
    b"\r\nDebian GNU/Linux 12 web ttyS0\r\n\r\nweb login: "
)
SCENES = {"empty": empty, "household": household, "busy": busy, "crowd": crowd, "strange": strange}
