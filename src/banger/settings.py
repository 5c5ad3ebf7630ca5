"""The user's preferences: from the environment, else the settings file, else built in.

Every command line imports this module, so it imports next to nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from banger.errors import InvalidInput

MIB = 1024 * 1024
#: Where addresses of VMs may lie (RFC 1918, RFC 6598); the root side holds to the same.
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


class Settings(NamedTuple):
    """All preferences. ``auto`` leaves a choice to what the host can do.

    Sizes are bytes, times seconds. Empty ``nameservers`` means: those of the host.
    ``failpoints`` come from the environment alone and exist for the tests. ``warnings`` are
    sentences about the settings file that the user should see.
    """

    vmm: str = "auto"
    storage: str = "auto"
    network: str = "auto"
    names: str = "auto"
    image: str = "debian"
    suite: str = "bookworm"
    network_pool: str = "10.208.0.0/12"
    nameservers: tuple[str, ...] = ()
    log_level: str = "info"
    min_free_bytes: int = 512 * MIB
    start_timeout: float = 120.0
    failpoints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class _Field(NamedTuple):
    """``parse`` makes the value of TOML or of a variable (text) into ours or raises ValueError."""

    parse: Callable[[object], object]
    help: str


def _choice(*allowed: str) -> Callable[[object], object]:
    def parse(value: object) -> object:
        if value not in allowed:
            raise ValueError(f"it must be one of {', '.join(allowed)}")
        return value

    return parse


def _matching(pattern: str, words: str) -> Callable[[object], object]:
    def parse(value: object) -> object:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"it must be {words}")
        return value

    return parse


def _pool(value: object) -> object:
    import ipaddress  # only who sets a pool pays for it

    network = ipaddress.IPv4Network(value) if isinstance(value, str) else None
    private = [ipaddress.IPv4Network(text) for text in _PRIVATE]
    fits = network is not None and any(network.subnet_of(block) for block in private)
    if network is None or not fits or network.prefixlen > 30:
        raise ValueError('it must be a private network such as "10.208.0.0/12"')
    return value


def _addresses(value: object) -> object:
    import ipaddress

    items = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("it must be a list of IP addresses")
    return tuple(str(ipaddress.ip_address(item)) for item in items if item)


def _size(value: object) -> object:
    if type(value) is int and value >= 0:
        return value
    found = (
        re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", value, re.I) if isinstance(value, str) else None
    )
    if found is None:
        raise ValueError('it must be a number of bytes, or one with a unit such as "512M"')
    return int(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")


def _seconds(value: object) -> object:
    text = str(value) if type(value) in (int, float, str) else ""
    seconds = float(text) if re.fullmatch(r"\d+(\.\d*)?", text) else 0.0
    if not 0 < seconds <= 86400:
        raise ValueError("it must be a number of seconds above 0 and at most 86400")
    return seconds


FIELDS: dict[str, _Field] = {
    "vmm": _Field(_choice("auto", "qemu", "firecracker"), "what runs the VMs"),
    "storage": _Field(
        _choice("auto", "dm_snapshot", "qcow2", "reflink", "copy"), "how root disks are made"
    ),
    "network": _Field(_choice("auto", "tap", "user"), "how VMs are connected"),
    "names": _Field(_choice("auto", "hosts", "resolved", "off"), "how NAME.vm gets to the host"),
    "image": _Field(_matching(r"[a-z0-9][a-z0-9-]{0,63}", "an image name"), "the default image"),
    "suite": _Field(_matching(r"[a-z][a-z0-9.-]{0,31}", "a Debian suite"), "suite of new images"),
    "network_pool": _Field(_pool, "where VM addresses are taken from"),
    "nameservers": _Field(_addresses, "written into the guests' resolv.conf"),
    "log_level": _Field(_choice("debug", "info", "warning", "error"), "what bangerd logs"),
    "min_free_bytes": _Field(_size, "disk space that must stay free"),
    "start_timeout": _Field(_seconds, "how long a VM may take to answer after its start"),
}  # fmt: skip


def load(file: Path, environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises ``InvalidInput`` for a value that cannot be used.

    Unknown keys only warn: an older banger must accept the file of a newer one.
    """
    values: dict[str, object] = {}
    warnings = []
    for key, raw in _read(file).items():
        if key in FIELDS:
            values[key] = _parsed(key, raw, f"{key} in {file}")
        else:
            warnings.append(f"unknown key {key!r} in {file}")
    for key in FIELDS:
        variable = f"BANGER_{key.upper()}"
        if environ.get(variable):
            values[key] = _parsed(key, environ[variable], f"the variable {variable}")
    failpoints = tuple(filter(None, environ.get("BANGER_FAILPOINTS", "").split(",")))
    # Each value has been through the parser of its field.
    return Settings(**values, failpoints=failpoints, warnings=tuple(warnings))  # type: ignore[arg-type]


def _read(file: Path) -> dict[str, object]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, str(error)) from error
    import tomllib  # most users have no file, and pay nothing for the format

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(file, str(error)) from error


def _unreadable(file: Path, cause: str) -> InvalidInput:
    return InvalidInput(
        f"the settings file {file} cannot be read",
        cause=cause,
        resolution=f"correct the file, or move it away: mv {file} {file}.old",
    )


def _parsed(key: str, raw: object, where: str) -> object:
    try:
        return FIELDS[key].parse(raw)
    except ValueError as error:
        raise InvalidInput(
            f"{where} has the value {raw!r}, which cannot be used",
            cause=str(error),
            resolution=f"correct {where}, or remove it",
        ) from error
