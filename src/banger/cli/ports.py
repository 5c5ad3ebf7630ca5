"""Ports that lead from the host to a guest, as they are typed and shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from banger.cli.session import command_path
from banger.errors import InvalidInput

_PORT = re.compile(r"([0-9]{1,5}):([0-9]{1,5})(?:/(tcp|udp))?", re.ASCII)


class Port(NamedTuple):
    """A port of the host and the port of the guest that it leads to."""

    host_port: int
    guest_port: int
    protocol: str

    @property
    def text(self) -> str:
        return port_text(self._asdict())


def port_text(port: Mapping[str, Any]) -> str:
    """``8080:80``, or ``5353:53/udp``."""
    suffix = "" if port["protocol"] == "tcp" else f"/{port['protocol']}"
    return f"{port['host_port']}:{port['guest_port']}{suffix}"


def parse_port(_: str, text: str) -> Port:
    """The port in ``text``. Raises ``InvalidInput``."""
    found = _PORT.fullmatch(text)
    if found is None or not all(0 < int(number) < 65536 for number in found.groups()[:2]):
        raise InvalidInput(
            f"{text!r:.60} is not a port to publish",
            cause="it has the form HOSTPORT:GUESTPORT or HOSTPORT:GUESTPORT/udp, each 1 to 65535",
            resolution=f"{command_path()} NAME 8080:80",
        )
    return Port(int(found[1]), int(found[2]), found[3] or "tcp")
