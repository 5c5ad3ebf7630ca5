"""What Docker needs of an image: packages, kernel modules, and units that start when it is used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from banger.errors import InvalidInput
from banger.host.modules import module_name, parse_builtin

#: Up to this release the client is a part of docker.io.
_CLIENT_INSIDE = frozenset({"buster", "bullseye", "bookworm"})
#: The engine, its firewall program, what loads the profile without which it starts no container
#: where the kernel has AppArmor, the bus through which it has systemd make control groups, and what
#: it knows the certificates of registries by.
_PACKAGES = ("docker.io", "iptables", "apparmor", "dbus", "ca-certificates")

#: What the engine, its bridge networks and published ports load; ``iptables`` of Debian speaks
#: nftables (``nft_compat``). Each is built in or a module of Debian's cloud kernels.
MODULES = (
    "overlay",
    "bridge",
    "br_netfilter",
    "veth",
    "nf_conntrack",
    "nf_nat",
    "nf_tables",
    "nft_chain_nat",
    "nft_compat",
    "xt_addrtype",
    "xt_conntrack",
    "xt_MASQUERADE",
    "xt_nat",
    "xt_tcpudp",
)

#: Debian starts the engine at every boot, which takes seconds and memory of a guest that may never
#: use it. The socket stays: the first ``docker`` starts the engine.
UNITS_AT_BOOT = ("docker.service", "containerd.service")


def packages_for(suite: str) -> tuple[str, ...]:
    """The packages that Docker is made of in a suite."""
    return _PACKAGES if suite in _CLIENT_INSIDE else (*_PACKAGES, "docker-cli")


def missing_modules(folder: Path) -> list[str]:
    """Which of ``MODULES`` the kernel lacks whose modules are in ``folder``."""
    there = {module_name(path.name) for path in folder.rglob("*.ko*") if _is_module(path)}
    builtin = folder / "modules.builtin"
    if builtin.is_file():
        there |= parse_builtin(builtin.read_text(encoding="utf-8", errors="replace"))
    return lacking(there)


def lacking(there: Iterable[str]) -> list[str]:
    """Which of ``MODULES`` are not among the given names."""
    return sorted(set(MODULES).difference(there), key=MODULES.index)


def check_modules(folder: Path) -> None:
    """Raise ``InvalidInput`` if containers cannot work with the modules in ``folder``."""
    if missing := missing_modules(folder):
        raise InvalidInput(
            f"Docker cannot work with the kernel {folder.name}",
            cause=f"it lacks the modules {', '.join(missing)}",
            resolution="choose a kernel with them, such as linux-image-cloud-amd64",
        )


def _is_module(path: Path) -> bool:
    return ".ko" in path.suffixes[-2:] and path.suffix in {".ko", ".xz", ".zst", ".gz"}
