"""Checks VM and image names; derives every host-side name from an id."""

from __future__ import annotations

import hashlib
import re
import secrets

from banger.errors import InvalidInput

#: Spec row R2.
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
#: Ids are 48 random bits as 12 lower-case hexadecimal digits: ``bgr`` + id fills the 15
#: characters that Linux allows an interface name (IFNAMSIZ less the final zero).
ID_PATTERN = r"^[0-9a-f]{12}$"

_NAME = re.compile(NAME_PATTERN[:-1] + r"\Z")
_ID_PREFIX = re.compile(r"^[0-9a-f]{4,12}\Z")


def new_id() -> str:
    """A fresh random id."""
    return secrets.token_hex(6)


def check_name(name: str, kind: str = "VM") -> str:
    """Return ``name`` if it is legal, else raise ``InvalidInput``."""
    if not _NAME.match(name):
        raise InvalidInput(
            f"the {kind} name {name!r} is not allowed",
            cause="a name has 1 to 64 of a-z, 0-9 and '-', and does not start with '-'",
            resolution="choose a name such as calm-otter",
        )
    return name


def is_id_prefix(text: str) -> bool:
    """Whether ``text`` can be the (shortened, at least 4 digits) id of an object."""
    return bool(_ID_PREFIX.match(text))


def tap_name(vm_id: str) -> str:
    """The TAP interface of a VM."""
    return f"bgr{vm_id}"


def tap_alias(uid: int, vm_id: str) -> str:
    """The mark (``ifalias``) that proves a TAP to be ours."""
    return f"banger:{uid}:{vm_id}"


def snapshot_uuid(uid: int, vm_id: str) -> str:
    """The mark (a device-mapper uuid) that proves a VM's root drive to be ours."""
    return f"BANGER-{uid}-{vm_id}"


def process_name(uid: int, vm_id: str) -> str:
    """The mark in a VMM's argument list that proves the process to be ours."""
    return f"banger-{uid}-{vm_id}"


def mac_address(vm_id: str) -> str:
    """A stable locally administered unicast MAC derived from the VM's id."""
    digest = hashlib.sha256(f"banger-mac:{vm_id}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in b"\x02" + digest[:5])


def dns_name(name: str) -> str:
    """The name under which a VM will resolve."""
    return f"{name}.vm"


def host_key_alias(vm_id: str) -> str:
    """The name under which a VM's SSH host key stands in our known_hosts."""
    return f"banger-{vm_id}"
