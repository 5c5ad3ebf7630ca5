"""What tests may need of the machine, probed once, with the reason to show where it lacks.

``@needs("qemu", "root")`` skips a test with that reason. Where ``CI`` is set, ``BANGER_EXPECT``
lists what must be there: a missing one, or one that no test used, fails the run.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

#: Capabilities that are a program: name -> (program, Debian package).
PROGRAMS = {
    "qemu": ("qemu-system-x86_64", "qemu-system-x86"),
    "qemu-img": ("qemu-img", "qemu-utils"),
    "mmdebstrap": ("mmdebstrap", "mmdebstrap"),
    "e2fsprogs": ("mke2fs", "e2fsprogs"),
    "busybox": ("busybox", "busybox-static"),
    "zstd": ("zstd", "zstd"),
    "ssh": ("ssh", "openssh-client"),
    "rsync": ("rsync", "rsync"),
    "ip": ("ip", "iproute2"),
    "nft": ("nft", "nftables"),
    "sudo": ("sudo", "sudo"),
    "make": ("make", "make"),
    "bash": ("bash", "bash"),
    "zsh": ("zsh", "zsh"),
    "fish": ("fish", "fish"),
    "tmux": ("tmux", "tmux"),
    "shellcheck": ("shellcheck", "shellcheck"),
    "systemd-analyze": ("systemd-analyze", "systemd"),
    "groff": ("groff", "groff-base"),
}
#: linux/kvm.h: _IO(0xAE, 1).
KVM_CREATE_VM = 0xAE01
#: What the lab host and a few guests in it take at most.
LAB_MEMORY_MIB = 4096
SEARCH_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

needs: Callable[..., pytest.MarkDecorator] = pytest.mark.needs


def _runs(*argv: str, timeout: float = 60) -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _root() -> str:
    return "" if os.geteuid() == 0 else "not root"


def _userns() -> str:
    if _runs("unshare", "--user", "--map-root-user", "true"):
        return ""
    return "user namespaces are not allowed"


def _tap() -> str:
    """A TAP can be made here: root, the device node, and a kernel that has the driver."""
    if missing(("root", "ip")):
        return missing(("root", "ip"))
    name = f"bgrprobe{os.getpid() % 1_000_000}"
    if not _runs("ip", "tuntap", "add", "dev", name, "mode", "tap"):
        return "no TAP device can be made"
    _runs("ip", "link", "delete", name)
    return ""


def _loop() -> str:
    """A file can become a block device here: root, and a kernel with a free loop device."""
    if _root():
        return _root()
    return "" if _runs("losetup", "--find") else "there is no loop device"


def _dm() -> str:
    """The kernel's device-mapper, for root, and loop devices to put below."""
    if missing(("root", "loop")):
        return missing(("root", "loop"))
    _runs("modprobe", "--quiet", "dm-snapshot")
    if "device-mapper" in Path("/proc/misc").read_text().split():
        return ""
    return "the kernel has no device-mapper"


def _kvm() -> str:
    """Cheap half of the proof: the product's own probe boots a guest, this one only looks."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    if "vmx" in flags or "svm" in flags:
        return ""
    return "the CPU shows neither vmx nor svm, so KVM cannot run an ordinary kernel"


def _bare_kvm() -> str:
    """KVM makes VMs, if only ones for bare guests (software PVM)."""
    try:
        kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    try:
        os.close(fcntl.ioctl(kvm, KVM_CREATE_VM, 0))
    except OSError as error:
        return f"KVM makes no VM: {error.strerror}"
    finally:
        os.close(kvm)
    return ""


def _firecracker() -> str:
    """The real program; a fetched one is kept between runs."""
    from tests.firecracker_program import why_not  # it needs the plugins, which need this module

    return why_not()


def _net() -> str:
    """The package archive of this machine answers."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(BASE_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    bases = listing.stdout.split()
    if not bases:
        return "apt has no package sources"
    with tempfile.TemporaryDirectory(prefix="banger-net-") as folder:
        target = f"{folder}/InRelease"
        helper = "/usr/lib/apt/apt-helper"
        options = ("-o", "APT::Sandbox::User=root")
        if _runs(helper, *options, "download-file", f"{bases[0]}InRelease", target, timeout=90):
            return ""
    return "the package archive does not answer"


def _image() -> str:
    reason = missing(("mmdebstrap", "e2fsprogs", "net"))
    if not reason and _root() and _userns():
        reason = f"{_root()}, and {_userns()}"
    return reason


def _lab() -> str:
    """Another host can be made, in which real Firecracker runs Linux (``tests/lab``)."""
    reason = missing(("root", "qemu", "image", "firecracker"))
    if reason:
        return reason
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    free = int(found[1]) // 1024 if found else 0
    return "" if free >= LAB_MEMORY_MIB else f"{free} of {LAB_MEMORY_MIB} MiB memory are free"


def _reflink() -> str:
    with tempfile.TemporaryDirectory(prefix="banger-reflink-") as folder:
        source = Path(folder, "source")
        source.write_bytes(b"x" * 4096)
        if _runs("cp", "--reflink=always", str(source), f"{folder}/clone"):
            return ""
    return f"the file system of {tempfile.gettempdir()} has no reflink copies"


PROBES: dict[str, Callable[[], str]] = {
    "root": _root,
    "userns": _userns,
    "tap": _tap,
    "loop": _loop,
    "dm": _dm,
    "kvm": _kvm,
    "bare-kvm": _bare_kvm,
    "firecracker": _firecracker,
    "net": _net,
    "image": _image,
    "lab": _lab,
    "reflink": _reflink,
}


@functools.cache
def reason(capability: str) -> str:
    """Why this machine lacks the capability; empty where it has it."""
    if capability in PROGRAMS:
        program, package = PROGRAMS[capability]
        if shutil.which(program, path=SEARCH_PATH):
            return ""
        return f"{program} is not installed (Debian package {package})"
    if capability not in PROBES:
        raise ValueError(f"unknown capability {capability!r}; tests/requirements.py lists them")
    return PROBES[capability]()


def missing(capabilities: Iterable[str]) -> str:
    """The first reason why a test with these needs cannot run here; empty if it can."""
    for capability in capabilities:
        found = reason(capability)
        if found:
            return f"needs {capability}: {found}"
    return ""


def expected() -> list[str]:
    """The capabilities that must not be missing in this run: ``BANGER_EXPECT`` under ``CI``."""
    if os.environ.get("CI", "").lower() not in {"1", "true"}:
        return []
    return os.environ.get("BANGER_EXPECT", "").split()
