"""BootSpec and descriptor numbers -> the argument list of QEMU (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from banger.drivers.vmm.architecture import Accelerator, Architecture
from banger.drivers.vmm.base import AGENT_PORT, BootSpec, NetworkDevice
from banger.drivers.vmm.qemu.descriptors import Descriptors, DriveDescriptors
from banger.errors import InvalidInput
from banger.model.storage import Drive

#: Size in MiB of the cache for translated code under TCG: a quarter of the guest's memory
#: within these bounds. It fills as the guest runs, and is memory of the host.
_MIN_CODE_CACHE, _MAX_CODE_CACHE = 64, 512
#: Denies QEMU, and whoever takes it over, to start programs and to gain or change rights.
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
#: Numbers of the descriptor sets: the console log, then two for each drive.
_CONSOLE_SET, _DRIVE_SETS = 1, 10


class Platform(Struct, frozen=True):
    """What the host, not the VM, decides: the program, and how it runs guest code."""

    executable: Path
    architecture: Architecture
    accelerator: Accelerator
    tsc_khz: int | None


def render(spec: BootSpec, descriptors: Descriptors, platform: Platform) -> list[str]:
    """The whole argument list. Nothing in it names a path of ours, or a secret."""
    return [
        str(platform.executable),
        *_process(spec),
        *_machine(spec, platform),
        *_kernel(spec, descriptors, platform),
        *_console(descriptors),
        *_monitors(descriptors),
        *_drives(spec.drives, descriptors.drives),
        *_network(spec.network, descriptors.tap),
        *_agent(descriptors),
        *_entropy(),
    ]


def _process(spec: BootSpec) -> Iterable[str]:
    yield from ("-name", f"guest={spec.process_name},debug-threads=on")
    yield from ("-no-user-config", "-nodefaults", "-display", "none")
    # Paused at first: the monitor on standard input lets it run (see descriptors).
    yield from ("-no-reboot", "-S", "-sandbox", _SANDBOX, "-msg", "timestamp=on")


def _machine(spec: BootSpec, platform: Platform) -> Iterable[str]:
    accelerator = "kvm"
    if platform.accelerator == "tcg":
        cache = min(max(spec.memory_mib // 4, _MIN_CODE_CACHE), _MAX_CODE_CACHE)
        # One thread for all vCPUs. With one each, a guest was seen to die of "Oops: int3" where
        # Linux patches its code: another vCPU must see that at once, and may not in QEMU 7.2.
        # It also boots sooner; busy guests with several vCPUs are slower for it.
        accelerator = f"tcg,thread=single,tb-size={cache}"
    yield from ("-machine", platform.architecture.machine)
    yield from ("-accel", accelerator, "-cpu", platform.architecture.cpu[platform.accelerator])
    yield from ("-smp", str(spec.vcpus), "-m", f"{spec.memory_mib}M")


def _kernel(spec: BootSpec, descriptors: Descriptors, platform: Platform) -> Iterable[str]:
    own = platform.architecture.kernel_arguments(platform.accelerator, platform.tsc_khz)
    line = " ".join((*own, *spec.arguments))
    if not line.isprintable():
        raise InvalidInput(
            "the kernel arguments hold a control character",
            cause=repr(line),
            resolution="remove it",
        )
    yield from ("-kernel", f"/proc/self/fd/{descriptors.kernel}")
    if descriptors.initrd is not None:
        yield from ("-initrd", f"/proc/self/fd/{descriptors.initrd}")
    yield from ("-append", line)


def _console(descriptors: Descriptors) -> Iterable[str]:
    yield from ("-add-fd", f"set={_CONSOLE_SET},fd={descriptors.console_log}")
    log = f"logfile=/dev/fdset/{_CONSOLE_SET},logappend=on"
    yield from ("-chardev", f"{_server('console', descriptors.console)},{log}")
    yield from ("-serial", "chardev:console")


def _monitors(descriptors: Descriptors) -> Iterable[str]:
    yield from ("-chardev", _server("monitor", descriptors.monitor))
    yield from ("-mon", "chardev=monitor,mode=control")
    # The second one only reports: its output is the file of events, which is thus written
    # also while bangerd is not there.
    yield from ("-chardev", "stdio,id=events,signal=off")
    yield from ("-mon", "chardev=events,mode=control")


def _drives(drives: tuple[Drive, ...], descriptors: tuple[DriveDescriptors, ...]) -> Iterable[str]:
    for index, (drive, opened) in enumerate(zip(drives, descriptors, strict=True)):
        own, base = _DRIVE_SETS + 2 * index, _DRIVE_SETS + 2 * index + 1
        yield from ("-add-fd", f"set={own},fd={opened.file}")
        node: dict[str, object] = {
            "driver": drive.format,
            "node-name": drive.id,
            "read-only": drive.read_only,
            "discard": "unmap",
            "file": _file(own, device=opened.device, read_only=drive.read_only),
        }
        if opened.backing is not None:
            yield from ("-add-fd", f"set={base},fd={opened.backing}")
            file = _file(base, device=opened.backing_device, read_only=True)
            node["backing"] = {"driver": "raw", "read-only": True, "file": file}
        yield from ("-blockdev", json.dumps(node))
        yield from ("-device", f"virtio-blk-device,drive={drive.id}")


def _file(descriptor_set: int, *, device: bool, read_only: bool) -> dict[str, object]:
    return {
        "driver": "host_device" if device else "file",
        "filename": f"/dev/fdset/{descriptor_set}",
        "read-only": read_only,
        "discard": "unmap",
    }


def _network(network: NetworkDevice, tap: int | None) -> Iterable[str]:
    if tap is not None:
        yield from ("-netdev", f"tap,id=net,fd={tap}")
    else:
        ssh = f",hostfwd=tcp:127.0.0.1:{network.ssh_port}-:22" if network.ssh_port else ""
        ports = "".join(
            f",hostfwd={f.protocol}:0.0.0.0:{f.host_port}-:{f.guest_port}" for f in network.forwards
        )
        yield from ("-netdev", f"user,id=net,ipv6=off{ssh}{ports}")
    yield from ("-device", f"virtio-net-device,netdev=net,mac={network.mac}")


def _agent(descriptors: Descriptors) -> Iterable[str]:
    yield from ("-chardev", _server("agent", descriptors.agent))
    yield from ("-device", "virtio-serial-device")
    yield from ("-device", f"virtserialport,chardev=agent,name={AGENT_PORT}")


def _entropy() -> Iterable[str]:
    yield from ("-object", "rng-builtin,id=entropy", "-device", "virtio-rng-device,rng=entropy")


def _server(name: str, descriptor: int) -> str:
    return f"socket,id={name},fd={descriptor},server=on,wait=off"
