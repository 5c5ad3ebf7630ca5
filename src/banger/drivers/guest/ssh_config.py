"""Renders the OpenSSH configuration that makes each VM a host of its own (pure; ssh_config(5))."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from banger.drivers.guest.base import SSHHost
from banger.drivers.guest.ssh import OPTIONS, quoted

_HEADER = "# Written by banger; changes are lost. One host for each VM.\n"
#: A host that a user reaches by its name may sit behind what the user has for all hosts.
_NOT_OF_THE_USERS = {"ProxyJump": "none", "ForwardAgent": "no", "HashKnownHosts": "no"}


def ssh_config_text(hosts: Sequence[SSHHost], *, user: str, key: Path, known_hosts: Path) -> str:
    """The whole file, hosts by name.

    What is said here comes before what the user has said for all hosts, since ssh takes the
    first value; the host key must be the one that was pinned.
    """
    pairs = {
        "User": user,
        "IdentityFile": quoted(key),
        "UserKnownHostsFile": quoted(known_hosts),
        **OPTIONS,
        **_NOT_OF_THE_USERS,
    }
    common = "".join(f"  {name} {value}\n" for name, value in pairs.items())
    blocks = [
        f"\nHost {host.name}\n"
        f"  HostName {host.address}\n"
        f"  Port {host.port}\n"
        f"  HostKeyAlias {host.key_alias}\n"
        f"{common}"
        for host in sorted(hosts, key=lambda host: host.name)
    ]
    return _HEADER + "".join(blocks)
