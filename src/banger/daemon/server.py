"""Serves the application on the listener until told to stop, and then ends quickly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator
from socket import socket

import uvicorn
from starlette.types import ASGIApp

from banger.daemon.connection import Connection
from banger.daemon.listener import BACKLOG, Listener

_log = logging.getLogger(__name__)
#: Seconds for answers under way when the daemon ends; streams end at once.
GRACE = 1
#: Seconds a connection may stay open without a request.
IDLE_TIMEOUT = 30
#: Seconds between two looks whether clients still reach the socket.
LOOK_INTERVAL = 30.0


class Server(uvicorn.Server):
    """uvicorn on a socket of our own, ended by an event and not by polling."""

    def __init__(self, application: ASGIApp, listener: Listener, stopping: asyncio.Event) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=IDLE_TIMEOUT,
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._listener = listener
        self._stopping = stopping

    async def startup(self, sockets: list[socket] | None = None) -> None:
        del sockets
        config, state, loop = self.config, self.server_state, asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(config=config, server_state=state, app_state={})

        self.servers = [
            await loop.create_unix_server(connection, sock=self._listener.socket, backlog=BACKLOG)
        ]
        self.started = True
        _log.info("listening on %s", self._listener.path)

    async def main_loop(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_INTERVAL)
            if not self._listener.in_place():
                # Nobody reaches us any more; whoever comes next starts a daemon of their own.
                _log.warning("the socket %s is gone: ending", self._listener.path)
                self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        yield
