"""What differs by architecture."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.drivers.vmm.architecture import AARCH64, KERNEL_HEAD, X86_64, of_host
from banger.errors import HostNotReady
from banger.host import kvm_probe
from banger.host.tiny_guest import tiny_guest


def test_an_emulated_guest_is_told_the_clock_rate() -> None:
    arguments = X86_64.kernel_arguments("tcg", 2_000_000)
    assert "tsc_early_khz=2000000" in arguments
    assert "tsc=reliable" in arguments
    assert arguments[0] == "console=ttyS0"


def test_an_unknown_clock_rate_is_not_told() -> None:
    assert not [a for a in X86_64.kernel_arguments("tcg", None) if a.startswith("tsc")]


def test_under_kvm_the_guest_knows_its_clock() -> None:
    arguments = X86_64.kernel_arguments("kvm", 2_000_000)
    assert not [a for a in arguments if a.startswith(("tsc", "no_timer"))]


def test_arm_has_another_console_and_no_tsc() -> None:
    assert AARCH64.kernel_arguments("tcg", 2_000_000) == ("console=ttyAMA0", "panic=-1")


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (bytes(0x202) + b"HdrS" + bytes(100), ""),
        (tiny_guest(b"hello")[:KERNEL_HEAD], ""),
        (b"", "neither"),
        (b"#!/bin/sh\n" * 200, "neither"),
        (b"\x7fELF\x02", "cut off"),
        (b"\x7fELF\x01" + bytes(100), "not for x86-64"),
        (b"\x7fELF\x02" + bytes(13) + b"\xb7\0" + bytes(100), "not for x86-64"),
    ],
)
def test_what_can_be_an_x86_kernel(head: bytes, problem: str) -> None:
    found = X86_64.kernel_problem(head)
    assert problem in found
    assert bool(problem) is bool(found)


def test_what_can_be_an_arm_kernel() -> None:
    assert AARCH64.kernel_problem(bytes(0x38) + b"ARM\x64") == ""
    assert AARCH64.kernel_problem(b"\x7fELF") != ""


@given(st.binary(max_size=1024))
def test_any_file_is_judged(head: bytes) -> None:
    for architecture in (X86_64, AARCH64):
        assert isinstance(architecture.kernel_problem(head), str)


@pytest.mark.parametrize(("name", "expected"), [("x86_64", X86_64), ("arm64", AARCH64)])
def test_the_host_is_recognised(name: str, expected: object) -> None:
    assert of_host(name) is expected


def test_a_strange_host_is_refused() -> None:
    with pytest.raises(HostNotReady, match="riscv64"):
        of_host("riscv64")


def test_what_kvm_was_tried_with_is_what_runs_under_it() -> None:
    assert X86_64.machine == kvm_probe.MACHINE
    assert X86_64.cpu["kvm"] == kvm_probe.CPU
