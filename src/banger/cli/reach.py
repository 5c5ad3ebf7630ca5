"""Where the host reaches a VM: its own address, or a forwarded port of the loopback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def reached_at(vm: Mapping[str, Any]) -> str:
    """The address to show; that of a VM in the user-mode network leads nowhere from the host."""
    if vm.get("network") == "user" and vm.get("ssh_port"):
        return f"{vm.get('ssh_host')}:{vm['ssh_port']}"
    return str(vm.get("address") or "-")
