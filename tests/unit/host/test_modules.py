"""Modules are loaded after what they need; built-in ones not at all."""

from __future__ import annotations

import pytest

from banger.host.modules import depends_of, load_order, module_name, parse_builtin

NEEDS = {
    "virtio_net": ("net-failover", "virtio", "virtio_ring"),
    "net_failover": ("failover",),
    "failover": (),
    "virtio": ("virtio_ring",),
    "virtio_ring": (),
    "a": ("b",),
    "b": ("a",),
}


def test_needed_modules_come_first_and_once() -> None:
    order, missing = load_order(["virtio_net", "virtio"], NEEDS.get)
    assert order == ["failover", "net_failover", "virtio_ring", "virtio", "virtio_net"]
    assert not missing


def test_what_is_built_in_is_left_out() -> None:
    order, _ = load_order(["virtio_net"], NEEDS.get, frozenset({"virtio", "virtio_ring"}))
    assert order == ["failover", "net_failover", "virtio_net"]


def test_what_is_nowhere_is_told_and_circles_end() -> None:
    order, missing = load_order(["no-such", "a", "no_such"], NEEDS.get)
    assert missing == ["no_such"]
    assert sorted(order) == ["a", "b"]


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst", ".gz"])
def test_names(suffix: str) -> None:
    assert module_name(f"kernel/drivers/net/net-failover.ko{suffix}") == "net_failover"


def test_what_is_no_module() -> None:
    with pytest.raises(ValueError, match="not a kernel module"):
        module_name("modules.dep")


def test_builtin_list() -> None:
    text = "kernel/drivers/virtio/virtio.ko\n\nkernel/fs/ext4/ext4.ko\n"
    assert parse_builtin(text) == {"virtio", "ext4"}


def test_depends_of_a_module() -> None:
    assert depends_of(b"\x7fELF\0license=GPL\0depends=virtio-ring,virtio\0name=x\0") == (
        "virtio_ring",
        "virtio",
    )
    assert depends_of(b"\0depends=\0") == ()
    assert depends_of(b"nothing") == ()
