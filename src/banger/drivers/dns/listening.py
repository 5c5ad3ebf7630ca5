"""Keeps the zone's DNS server listening: for the host, and for guests at their gateways."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from banger.errors import BangerError
from banger.mapdns.server import ADDRESS, HIGH_PORT, PORT, Answers, Server

_log = logging.getLogger(__name__)
#: ip(7): from here on a port needs no privilege.
_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


#: Where guests are answered by a daemon that may not have port 53; the root side leads their
#: questions there. Always the same, so that what it was told outlives the daemon.
GUEST_PORT = 10053


def _has_port() -> bool:
    """Whether we may listen on the port that everybody asks at."""
    return os.geteuid() == 0 or _first_free_port() <= PORT


def _first_free_port() -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(_FIRST_FREE_PORT.read_text())
    return 1024


class Listening:
    """Starts with the first name, and ends with the daemon."""

    def __init__(self, answers: Answers, address: str = ADDRESS) -> None:
        self._answers = answers
        self._address = address
        self._host: Server | None = None
        self._gateways: dict[str, Server] = {}

    @property
    def server(self) -> str:
        """``ADDRESS:PORT`` for the host's own programs; empty while nothing listens."""
        return f"{self._host.address}:{self._host.port}" if self._host else ""

    def port_at(self, gateway: str) -> int:
        """The port at which guests are answered at this gateway; 0 if none."""
        server = self._gateways.get(gateway)
        return server.port if server else 0

    async def ensure_host(self) -> None:
        """Listen for the host's own programs. What fails is logged."""
        if self._host is None:
            ports = (PORT, HIGH_PORT, 0) if _has_port() else (HIGH_PORT, 0)
            self._host = await self._first(self._address, ports)

    async def ensure(self, gateways: set[str]) -> None:
        """Listen at exactly these gateways. What fails is logged."""
        for gateway in self._gateways.keys() - gateways:
            await self._gateways.pop(gateway).close()
        for gateway in gateways - self._gateways.keys():
            server = await self._first(gateway, (PORT,) if _has_port() else (GUEST_PORT, 0))
            if server is not None:
                self._gateways[gateway] = server

    async def close(self) -> None:
        servers = [*self._gateways.values(), *([self._host] if self._host else [])]
        self._gateways, self._host = {}, None
        for server in servers:
            await server.close()

    async def _first(self, address: str, ports: tuple[int, ...]) -> Server | None:
        for port in ports:
            server = Server(self._answers, address, port)
            try:
                await server.start()
            except BangerError as error:
                _log.info("%s: %s", error.brief, error.cause)
            else:
                _log.info("names are served on %s port %d", server.address, server.port)
                return server
        return None
