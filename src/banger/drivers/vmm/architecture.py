"""Everything about VMMs and kernels that differs from one CPU architecture to another."""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from banger.errors import HostNotReady

Accelerator = Literal["kvm", "tcg"]

#: How much of a kernel file ``kernel_problem`` wants to see, in bytes: more than the first
#: sector, where all the formats have their magic numbers.
KERNEL_HEAD = 4096


class Architecture(Struct, frozen=True):
    """One CPU architecture: which QEMU runs it, on which machine, and what its kernels want."""

    name: str
    emulator: str
    package: str
    machine: str
    cpu: Mapping[Accelerator, str]
    console: str
    #: Kernel arguments that make reboot and panic end the VMM at once.
    endings: tuple[str, ...]
    #: Whether the guest's clock is the host's TSC, whose rate it cannot measure under TCG.
    needs_tsc: bool

    def kernel_arguments(self, accelerator: Accelerator, tsc_khz: int | None) -> tuple[str, ...]:
        """The arguments that the machine itself demands, for any guest."""
        clock: tuple[str, ...] = ()
        if self.needs_tsc and accelerator == "tcg":
            clock = ("no_timer_check",)
            if tsc_khz:
                clock = (f"tsc_early_khz={tsc_khz}", "tsc=reliable", *clock)
        return (f"console={self.console}", *clock, *self.endings)

    def kernel_problem(self, head: bytes) -> str:
        """Why a file that begins with ``head`` cannot be a kernel; empty if it looks like one."""
        return _KERNEL_CHECKS[self.name](head)


def _x86_kernel_problem(head: bytes) -> str:
    if head[0x202:0x206] == b"HdrS":  # boot protocol 2.00 and later (bzImage)
        return ""
    if head[:4] != b"\x7fELF":
        return "it is neither a bzImage nor an ELF file"
    if len(head) < 64:
        return "the file is cut off"
    if head[4] != 2 or struct.unpack_from("<H", head, 18)[0] != 62:
        return "it is an ELF file, but not for x86-64"
    return ""


def _arm_kernel_problem(head: bytes) -> str:
    if head[0x38:0x3C] == b"ARM\x64" or head[:2] == b"\x1f\x8b":
        return ""
    return "it is not an arm64 Image"


_KERNEL_CHECKS = {"x86_64": _x86_kernel_problem, "aarch64": _arm_kernel_problem}

X86_64 = Architecture(
    name="x86_64",
    emulator="qemu-system-x86_64",
    package="qemu-system-x86",
    # No legacy timers (pit, pic): each costs boot time, and the clock arguments above make
    # them needless. ACPI is how a Debian kernel finds the virtio devices and powers off.
    machine=("microvm,x-option-roms=off,rtc=on,acpi=on,pit=off,pic=off,isa-serial=on"),
    cpu={"kvm": "host", "tcg": "max"},
    console="ttyS0",
    # Triple fault: the quickest reset of this machine, and one that cannot fail.
    endings=("reboot=t", "panic=-1"),
    needs_tsc=True,
)
AARCH64 = Architecture(
    name="aarch64",
    emulator="qemu-system-aarch64",
    package="qemu-system-arm",
    machine="virt,gic-version=max",
    cpu={"kvm": "host", "tcg": "max"},
    console="ttyAMA0",
    endings=("panic=-1",),
    needs_tsc=False,
)
_ALL = {"x86_64": X86_64, "amd64": X86_64, "aarch64": AARCH64, "arm64": AARCH64}


def of_host(machine: str = "") -> Architecture:
    """The architecture of this host (or of ``machine``, as ``uname -m`` names it).

    Raises ``HostNotReady`` for one that banger does not know.
    """
    wanted = (machine or platform.machine()).lower()
    if wanted not in _ALL:
        raise HostNotReady(
            f"banger does not run on a {wanted} host",
            cause="only x86_64 and aarch64 are supported",
            resolution="use a host of one of these architectures",
        )
    return _ALL[wanted]
