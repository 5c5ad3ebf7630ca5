"""Checks the programs that banger calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from banger.errors import BangerError, HostNotReady
from banger.host.command import Command, as_root, find_program, run_blocking
from banger.host.finding import Check, Status

EVERY_VM = "every VM"
IMAGE_BUILD = "building images"


@dataclass(frozen=True, slots=True)
class Program:
    """``version`` is the argument that makes it print its version, if it is worth asking."""

    name: str
    package: str
    purpose: str
    needed_for: str
    version: str = ""


QEMU = Program("qemu-system-x86_64", "qemu-system-x86", "runs the VMs", EVERY_VM, "--version")
PROGRAMS = (
    QEMU,
    Program("ssh", "openssh-client", "logs in to VMs", EVERY_VM, "-V"),
    Program("ssh-keygen", "openssh-client", "makes the keys of VMs", EVERY_VM),
    Program("qemu-img", "qemu-utils", "makes root disks that copy nothing", "--storage qcow2"),
    Program("mke2fs", "e2fsprogs", "makes file systems", f"{IMAGE_BUILD}, work disks"),
    Program("e2fsck", "e2fsprogs", "checks file systems", f"{IMAGE_BUILD}, work disks"),
    Program("resize2fs", "e2fsprogs", "enlarges file systems", "work disks"),
    Program("mmdebstrap", "mmdebstrap", "installs Debian into a folder", IMAGE_BUILD, "--version"),
    Program("tar", "tar", "unpacks root file systems", IMAGE_BUILD),
    Program("zstd", "zstd", "unpacks kernels and modules", IMAGE_BUILD),
    Program("lz4", "lz4", "unpacks kernels", IMAGE_BUILD),
    Program(
        "nft",
        "nftables",
        "decides what passes between VMs, host and internet",
        "banger nat, VMs that reach each other",
    ),
)
#: Only an ordinary user's image builds go through these.
NAMESPACE_PROGRAMS = (
    Program("unshare", "util-linux", "enters user namespaces", IMAGE_BUILD),
    Program("newuidmap", "uidmap", "gives a namespace its ids", IMAGE_BUILD),
)


def program_checks(*, have_image: bool, is_root: bool, other_vmm: bool = False) -> Iterator[Check]:
    """One check for each program. Without an image, what builds one is needed for any VM.

    ``other_vmm``: VMs run here without QEMU.
    """
    for program in (*PROGRAMS, *(() if is_root else NAMESPACE_PROGRAMS)):
        replaced = other_vmm and program is QEMU
        vital = not replaced and _is_vital(program, have_image=have_image)
        yield check_program(program, vital=vital)


def _is_vital(program: Program, *, have_image: bool) -> bool:
    if program.needed_for.startswith(IMAGE_BUILD):
        return not have_image
    return program.needed_for == EVERY_VM


def check_program(program: Program, *, vital: bool) -> Check:
    """Look for the program, and where it is worth it ask for its version."""
    try:
        path = find_program(program.name, program.package)
    except HostNotReady:
        status, found = Status.FAIL if vital else Status.WARN, "not installed"
        mend = as_root(f"apt-get install {program.package}")
        return Check(program.name, program.purpose, status, found, mend, program.needed_for)
    found = _version(str(path), program.version) or str(path)
    return Check(program.name, program.purpose, Status.OK, found, "", program.needed_for)


def _version(path: str, argument: str) -> str:
    if not argument:
        return ""
    try:
        done = run_blocking(Command((path, argument), timeout=10))
    except BangerError:
        return ""
    # OpenSSH prints it on standard error.
    lines = (done.stdout or done.stderr).decode(errors="replace").splitlines()
    return lines[0].strip() if lines else ""
