"""Runs commands in a guest for ``cp``: by the agent, or by OpenSSH where there is none."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from banger.api.frames import STDOUT
from banger.client.client import BangerClient
from banger.client.exec_stream import ExecStream, IteratorInput
from banger.client.transport import ConnectionCut
from banger.client.views import AccessView

#: Bytes of a command's error output that are kept for the message.
MAX_ERRORS = 8 * 1024
PIECE = 256 * 1024


class Finished(NamedTuple):
    """How a command in the guest ended."""

    status: int
    errors: str


class GuestShell(Protocol):
    """Runs commands in one guest."""

    def feed(self, argv: Sequence[str], pieces: Iterator[bytes]) -> Finished:
        """Run a command with ``pieces`` as its stdin; its stdout is thrown away."""

    def read(
        self, argv: Sequence[str], consume: Callable[[Callable[[int], bytes]], None]
    ) -> Finished:
        """Run a command and call ``consume(read)``, where ``read(n)`` gives exactly ``n`` bytes
        of its stdout or raises ``ConnectionCut``; what is left over is thrown away."""


def guest_shell(client: BangerClient, access: AccessView) -> GuestShell:
    """The best way to run commands in the guest."""
    if access["agent"]:
        return AgentShell(client, access["id"])
    return SSHShell(access["ssh"])


def _ended_early() -> ConnectionCut:
    return ConnectionCut(
        "the guest sent less than was announced",
        cause="the command in the guest or the VM ended early",
        resolution="banger ls",
    )


class AgentShell:
    """Commands by the guest's agent."""

    def __init__(self, client: BangerClient, vm_id: str):
        self._client = client
        self._vm_id = vm_id

    def feed(self, argv: Sequence[str], pieces: Iterator[bytes]) -> Finished:
        errors = bytearray()

        def write(channel: int, data: bytes) -> None:
            if channel != STDOUT and len(errors) < MAX_ERRORS:
                errors.extend(data)

        stream = ExecStream(
            self._client, self._vm_id, argv, write=write, source=IteratorInput(pieces)
        )
        return Finished(stream.run(), errors.decode(errors="replace"))

    def read(
        self, argv: Sequence[str], consume: Callable[[Callable[[int], bytes]], None]
    ) -> Finished:
        output, errors = bytearray(), bytearray()

        def write(channel: int, data: bytes) -> None:
            if channel == STDOUT:
                output.extend(data)
            elif len(errors) < MAX_ERRORS:
                errors.extend(data)

        stream = ExecStream(self._client, self._vm_id, argv, write=write)

        def read(size: int) -> bytes:
            while len(output) < size and stream.status is None:
                stream.advance()
            if len(output) < size:
                raise _ended_early()
            piece = bytes(output[:size])
            del output[:size]
            return piece

        try:
            if _began(stream, output):
                consume(read)
            while stream.status is None:
                output.clear()
                stream.advance()
        finally:
            stream.close()
        return Finished(stream.status, errors.decode(errors="replace"))


def _began(stream: ExecStream, output: bytearray) -> bool:
    """Wait for the first output; False for a command that failed without any."""
    while not output and stream.status is None:
        stream.advance()
    return bool(output) or stream.status == 0


class SSHShell:
    """Commands by OpenSSH; its error output goes to ours directly."""

    def __init__(self, ssh: Sequence[str]):
        self._ssh = ssh

    def _argv(self, argv: Sequence[str]) -> list[str]:
        return [*self._ssh, "--", shlex.join(argv)]

    def feed(self, argv: Sequence[str], pieces: Iterator[bytes]) -> Finished:
        from banger.client.terminal import start_ssh, wait_for

        reading, writing = os.pipe2(os.O_CLOEXEC)
        pid = start_ssh(self._argv(argv), (reading, 2))
        os.close(reading)
        try:
            with os.fdopen(writing, "wb", buffering=0) as pipe:
                for piece in pieces:
                    left = piece
                    while left:
                        left = left[pipe.write(left) :]
        except BrokenPipeError:
            # The command ended; its status says why.
            pass
        return Finished(wait_for(pid), "")

    def read(
        self, argv: Sequence[str], consume: Callable[[Callable[[int], bytes]], None]
    ) -> Finished:
        from banger.client.terminal import start_ssh, wait_for

        reading, writing = os.pipe2(os.O_CLOEXEC)
        pid = start_ssh(self._argv(argv), (-1, writing))
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:

            def read(size: int) -> bytes:
                data = pipe.read(size)
                if len(data) < size:
                    raise _ended_early()
                return data

            if pipe.peek(1):
                consume(read)
            while pipe.read(PIECE):
                pass
        return Finished(wait_for(pid), "")
