"""Looks at everything that banger needs of its host; works without the daemon, changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from banger.host.choice import Choice, choose
from banger.host.facts import host_facts
from banger.host.finding import Check, Status
from banger.host.firecracker_check import firecracker_check
from banger.host.jail_check import jail_check
from banger.host.kernel_checks import kernel_checks
from banger.host.kvm_probe import KvmVerdict, probe_kvm
from banger.host.privilege import Privilege
from banger.host.program_checks import program_checks
from banger.host.resolver import names_check
from banger.host.room_checks import room_checks
from banger.host.static_busybox import busybox_check
from banger.paths import Paths
from banger.settings import Settings


@dataclass(frozen=True, slots=True)
class Report:
    """Everything found, what ``auto`` means here, and whether a VM can be run at all."""

    checks: tuple[Check, ...]
    choice: Choice
    usable: bool


def examine(paths: Paths, settings: Settings, *, refresh: bool = False) -> Report:
    """Look at the host (blocking, up to about ten seconds for KVM the first time in a boot).

    ``refresh`` tries KVM again even if its verdict is known.
    """
    kvm = probe_kvm(paths, refresh=refresh)
    found = tuple(_checks(paths, settings, kvm))
    facts = host_facts(paths, kvm)
    choice = choose(facts, settings.vmm, settings.storage, settings.network)
    return Report(found, choice, usable(found))


def checks(paths: Paths, settings: Settings, *, refresh: bool = False) -> list[Check]:
    """The checks alone; see ``examine``."""
    return list(examine(paths, settings, refresh=refresh).checks)


def usable(found: Iterable[Check]) -> bool:
    """Whether a VM can be run at all."""
    return all(check.status is not Status.FAIL for check in found)


def _checks(paths: Paths, settings: Settings, kvm: KvmVerdict) -> Iterable[Check]:
    is_root = os.geteuid() == 0
    have_image = paths.images.is_dir() and any(paths.images.glob("*/vmlinux"))
    firecracker = firecracker_check(paths.firecracker)
    yield from kernel_checks(kvm, is_root=is_root, have_image=have_image)
    # With Firecracker and a KVM that boots Linux nothing waits for QEMU.
    other_vmm = kvm.boots_linux and firecracker.status is Status.OK
    yield from program_checks(have_image=have_image, is_root=is_root, other_vmm=other_vmm)
    yield busybox_check()
    yield firecracker
    yield jail_check(paths.firecracker, Privilege())
    yield from room_checks(paths, settings.min_free_bytes, have_image=have_image)
    yield names_check(settings.names, os.geteuid())
