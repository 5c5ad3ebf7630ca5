"""The agent behind a vsock: it listens there, and serves who connects."""

from __future__ import annotations

import select

from . import vsock
from .loop import Agent
from .port import Port


class ListeningAgent(Agent):
    """Serves who connects to a socket of ours: the newest alone, for a host has one client."""

    def __init__(self, listener: vsock.Listener) -> None:
        super().__init__(Port(), reconnects=True)
        self.listener = listener

    def connect(self) -> None:
        """Wait for a host, as this does from the first moment to the last."""
        self.always.add(self.listener.fd)
        self.watch(self.listener.fd, select.POLLIN, lambda _: self.accept())

    def accept(self) -> None:
        connection = self.listener.accept()
        if connection < 0:
            return
        if self.connected:
            self.disconnect()
        self.port.replace(connection)
        self.connected = True

    def disconnect(self) -> None:
        self.give_up_commands()
        self.unwatch(self.port.fd)
        self.port.replace(-1)
        self.connected = self.greeted = False
