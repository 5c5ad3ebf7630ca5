"""What is told of a running QEMU is read from its own argument list."""

from __future__ import annotations

from banger.drivers.vmm.qemu.configuration import of_arguments


def test_what_makes_the_machine_stands_beside_the_arguments() -> None:
    argv = ["/usr/bin/qemu", "-machine", "microvm,acpi=on", "-smp", "2", "-m", "512M"]
    argv += ["-device", "virtio-rng-device", "-append", "quiet", "-device", "virtio-net-device"]
    assert of_arguments(argv) == {
        "machine": "microvm,acpi=on",
        "vcpus": "2",
        "memory": "512M",
        "kernel_arguments": "quiet",
        "devices": ["virtio-rng-device", "virtio-net-device"],
        "argv": argv,
    }
    assert of_arguments(["/usr/bin/qemu", "-smp"])["argv"] == ["/usr/bin/qemu", "-smp"]
