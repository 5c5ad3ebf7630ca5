"""Chooses the drivers: what the user asked for, else the best that this host can do (pure)."""

from __future__ import annotations

from msgspec import Struct

from banger.host.kvm_probe import KvmLevel

AUTO, FIRECRACKER = "auto", "firecracker"


class HostFacts(Struct, frozen=True):
    """What the choice rests on.

    ``kvm`` and ``kvm_evidence`` are the probe's verdict. ``reflink``: the state folder's file
    system clones files. ``tap`` says why no TAP can be made here; empty if one can.
    """

    kvm: KvmLevel
    kvm_evidence: str
    qemu: bool
    qemu_img: bool
    reflink: bool
    tap: str
    snapshots: str = ""
    no_snapshots: str = "nobody has looked for device-mapper"
    #: The version of a verified Firecracker; else why there is none.
    firecracker: str = ""
    no_firecracker: str = "nobody has looked for Firecracker"


class Chosen(Struct, frozen=True):
    """A name, and one sentence that says why it was chosen."""

    name: str
    reason: str


class Choice(Struct, frozen=True):
    """One of each. ``accelerator`` is ``kvm`` or ``tcg``.

    ``raw_storage`` is what a VMM gets that knows no qcow2.
    """

    vmm: Chosen
    accelerator: Chosen
    storage: Chosen
    network: Chosen
    raw_storage: Chosen = Chosen("copy", "it needs nothing")


def choose(facts: HostFacts, vmm: str = AUTO, storage: str = AUTO, network: str = AUTO) -> Choice:
    """Resolve ``auto``. A driver that was asked for by name is taken whatever the facts."""
    network_chosen = _asked(network) or choose_network(facts)
    return Choice(
        vmm=_asked(vmm) or choose_vmm(facts, storage, network_chosen),
        accelerator=choose_accelerator(facts),
        storage=_asked(storage) or choose_storage(facts),
        network=network_chosen,
        raw_storage=choose_raw_storage(facts),
    )


def _asked(name: str) -> Chosen | None:
    return None if name == AUTO else Chosen(name, "it was asked for")


def choose_vmm(facts: HostFacts, storage: str, network: Chosen) -> Chosen:
    """Firecracker where it can run what is wanted, else QEMU, which runs all everywhere."""
    obstacle = _firecracker_obstacle(facts, storage, network)
    if not obstacle:
        return Chosen(FIRECRACKER, f"Firecracker {facts.firecracker} is installed")
    missing = "" if facts.qemu else "it is not installed yet, but "
    return Chosen("qemu", f"{missing}{obstacle}")


def _firecracker_obstacle(facts: HostFacts, storage: str, network: Chosen) -> str:
    if not facts.firecracker:
        return facts.no_firecracker
    if facts.kvm is not KvmLevel.LINUX:
        return f"Firecracker {facts.firecracker} is installed, but needs a KVM that boots Linux"
    if network.name == "user":
        return f"Firecracker has no network without a TAP: {network.reason}"
    if storage == "qcow2":
        return "Firecracker knows no qcow2 files, and storage qcow2 was asked for"
    return ""


def choose_accelerator(facts: HostFacts) -> Chosen:
    if facts.kvm is KvmLevel.LINUX:
        return Chosen("kvm", f"KVM was seen to boot Linux: {facts.kvm_evidence}")
    return Chosen("tcg", f"KVM was not seen to boot Linux: {facts.kvm_evidence}")


def choose_storage(facts: HostFacts) -> Chosen:
    if facts.snapshots:
        return _snapshots(facts)
    if facts.qemu_img:
        reason = "QEMU's own copy-on-write files copy nothing and need no root"
        return Chosen("qcow2", f"{reason}; {facts.no_snapshots}")
    raw = choose_raw_storage(facts)
    return Chosen(raw.name, f"qemu-img is missing, and {raw.reason}")


def choose_raw_storage(facts: HostFacts) -> Chosen:
    """For a VMM that knows raw drives only."""
    if facts.snapshots:
        return _snapshots(facts)
    if facts.reflink:
        return Chosen("reflink", f"this file system clones files; {facts.no_snapshots}")
    return Chosen("copy", f"this file system cannot clone files; {facts.no_snapshots}")


def _snapshots(facts: HostFacts) -> Chosen:
    return Chosen("dm_snapshot", f"VMs share the image in the kernel: {facts.snapshots}")


def choose_network(facts: HostFacts) -> Chosen:
    if not facts.tap:
        return Chosen("tap", "TAP interfaces can be made here")
    return Chosen("user", facts.tap)
