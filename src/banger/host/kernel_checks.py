"""Checks what the host's kernel and its administrator allow."""

from __future__ import annotations

import os
import platform
import pwd
from collections.abc import Iterator
from pathlib import Path

from banger.errors import BangerError
from banger.host import root_side, sudo
from banger.host.command import Command, as_root, run_blocking
from banger.host.facts import tap_obstacle
from banger.host.finding import Check, Status
from banger.host.kvm_probe import KvmLevel, KvmVerdict
from banger.host.privilege import Privilege

_KVM_MEND = {
    KvmLevel.LINUX: "",
    KvmLevel.BARE_ELF: "nothing to do: VMs run with software emulation, which is slower",
    KvmLevel.OPENS_ONLY: "nothing to do: VMs run with software emulation, which is slower",
    KvmLevel.REFUSED: "usermod --append --groups kvm $USER, then log in again",
    KvmLevel.MISSING: "modprobe kvm_intel || modprobe kvm_amd"
    " (on a virtual machine, switch nested virtualisation on first)",
}
_LINGER = Path("/var/lib/systemd/linger")


def kernel_checks(kvm: KvmVerdict, *, is_root: bool, have_image: bool) -> Iterator[Check]:
    """All checks of the kernel, for root or for an ordinary user."""
    yield _machine()
    yield kvm_check(kvm)
    yield _root_side()
    yield _device_mapper()
    if not is_root:
        yield _namespaces(have_image=have_image)
        yield from _lingering()


def kvm_check(verdict: KvmVerdict) -> Check:
    """The probe's verdict. Without KVM all works, only more slowly."""
    mend = _KVM_MEND[verdict.level]
    if verdict.level in (KvmLevel.REFUSED, KvmLevel.MISSING):
        mend = as_root(mend)
    status = Status.OK if verdict.boots_linux else Status.WARN
    found = f"{verdict.level.value}: {verdict.evidence}"
    return Check("kvm", "runs guests at the CPU's own speed", status, found, mend, "fast VMs")


def _machine() -> Check:
    machine = platform.machine()
    fits = machine == "x86_64"
    status, mend = (Status.OK, "") if fits else (Status.FAIL, "use an x86-64 host")
    found = f"{machine}, Linux {platform.release()}"
    return Check("architecture", "guests have the host's", status, found, mend, "every VM")


def _root_side() -> Check:
    place, uid = root_side.Place(), os.getuid()
    obstacle = tap_obstacle()
    purpose = "gives VMs addresses of their own"
    if not obstacle or (uid != 0 and place.prefix.exists()):
        # Whether it answers is not enough: it must be what this banger has installed.
        try:
            obstacle = (root_side.verify(uid, place) if uid != 0 else "") or obstacle
        except BangerError as error:
            obstacle = f"{error.brief}: {error.cause}"
    if not obstacle:
        found = "TAP interfaces can be made"
        if uid != 0:
            found += f" by {place.prefix}, which is root's, through one line for sudo"
        return Check("root", purpose, Status.OK, found, "", "--network tap")
    mend = f"{sudo.SETUP} (banger setup --dry-run shows it first), or stay with --network user"
    if not root_side.TUN.exists():
        mend = as_root("modprobe tun")
    return Check("root", purpose, Status.WARN, obstacle, mend, "--network tap")


def _device_mapper() -> Check:
    obstacle, evidence = Privilege().probe_snapshots()
    mend = ""
    if obstacle:
        mend = as_root("modprobe dm_snapshot loop") + ", or stay with the other storage"
    return Check(
        "device-mapper",
        "shares one image between root disks in the kernel",
        Status.WARN if obstacle else Status.OK,
        obstacle or f"snapshots can be made: {evidence}",
        mend,
        "the storage dm_snapshot",
    )


def _namespaces(*, have_image: bool) -> Check:
    name, purpose, needed_for = "user namespaces", "builds images without root", "building images"
    probe = ("unshare", "--map-root-user", "--map-auto", "--", "true")
    try:
        run_blocking(Command(probe, timeout=10, package="util-linux"))
    except BangerError as error:
        status = Status.WARN if have_image else Status.FAIL
        ids = "--add-subuids 100000-165535 --add-subgids 100000-165535"
        mend = f"sudo usermod {ids} $USER, or build images as root"
        return Check(name, purpose, status, error.cause or error.brief, mend, needed_for)
    return Check(name, purpose, Status.OK, "allowed, with a range of ids", "", needed_for)


def _lingering() -> Iterator[Check]:
    uid = os.getuid()
    if not Path(f"/run/user/{uid}").is_dir() or not Path("/run/systemd/system").is_dir():
        return
    user = pwd.getpwuid(uid).pw_name
    stays = (_LINGER / user).exists()
    yield Check(
        "lingering",
        "lets the daemon and VMs go on when you log out",
        Status.OK if stays else Status.WARN,
        "on" if stays else "off: systemd may end your processes at logout",
        "" if stays else "loginctl enable-linger",
        "VMs that outlive the login",
    )
