"""Ports that lead from the host to a guest, as they are typed and shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from banger.cli.session import command_path
from banger.errors import InvalidInput

#: A published port is named by its host port, or as it was given.
_PUBLISHED = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?(?:/(tcp|udp))?", re.ASCII)
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


class PublishedPort(NamedTuple):
    """How a published port is named; what is not said (0, empty) fits anything."""

    host_port: int
    guest_port: int
    protocol: str

    @property
    def text(self) -> str:
        guest = f":{self.guest_port}" if self.guest_port else ""
        return f"{self.host_port}{guest}" + (f"/{self.protocol}" if self.protocol else "")

    def fits(self, forward: Mapping[str, Any]) -> bool:
        """Whether ``forward`` (an API object) is meant."""
        return (
            forward["host_port"] == self.host_port
            and self.guest_port in (0, forward["guest_port"])
            and self.protocol in ("", forward["protocol"])
        )


def parse_published(_: str, text: str) -> PublishedPort:
    """The port that ``text`` names. Raises ``InvalidInput``."""
    found = _PUBLISHED.fullmatch(text)
    if found is None or not all(0 < int(n) < 65536 for n in found.groups()[:2] if n is not None):
        raise InvalidInput(
            f"{text!r:.60} is not a published port",
            cause="it has the form HOSTPORT or HOSTPORT/udp, 1 to 65535",
            resolution=f"{command_path()} NAME 8080",
        )
    return PublishedPort(int(found[1]), int(found[2] or 0), found[3] or "")
