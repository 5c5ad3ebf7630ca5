"""Runs a command in a guest through the daemon: framed streams in both directions at once."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from urllib.parse import quote

from banger.api.frames import (
    CONTROL,
    STDERR,
    STDIN,
    STDOUT,
    Decoder,
    decode_control,
    encode,
    encode_control,
)
from banger.client.client import BangerClient, problem_to_error
from banger.client.transport import Connection, ConnectionCut, Response, request_head
from banger.errors import BangerError, from_dict

MEDIA_TYPE = "application/vnd.banger.stream"
#: Bytes read from stdin at a time; nothing more is read until they are sent.
PIECE = 64 * 1024
#: Seconds until the daemon must have accepted the request.
ACCEPT_TIMEOUT = 30.0


class Input(Protocol):
    """Where the command's stdin comes from."""

    def fileno(self) -> int:
        """A descriptor to wait for, or -1 when data is always ready."""

    def read(self) -> bytes:
        """The next piece, empty at the end."""


class DescriptorInput:
    """Reads stdin from a descriptor; any error counts as its end."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bytes:
        try:
            return os.read(self._descriptor, PIECE)
        except OSError:
            return b""


class IteratorInput:
    """Takes stdin from an iterator of pieces."""

    def __init__(self, pieces: Iterator[bytes]):
        self._pieces = pieces

    def fileno(self) -> int:
        return -1

    def read(self) -> bytes:
        for piece in self._pieces:
            if piece:
                return piece
        return b""


class ExecStream:
    """One command in the guest. ``write`` gets ``(channel, data)`` for stdout and stderr.

    ``interrupts`` is a descriptor from which each byte is the number of a signal to forward.
    """

    def __init__(
        self,
        client: BangerClient,
        ref: str,
        argv: Sequence[str],
        *,
        write: Callable[[int, bytes], None],
        source: Input | None = None,
        interrupts: int = -1,
        env: dict[str, str] | None = None,
    ):
        self._write = write
        self._source = source
        self._interrupts = interrupts
        self._decoder = Decoder()
        self._outgoing = bytearray()
        #: The command's exit status once it has ended.
        self.status: int | None = None
        self._connection = Connection(client.socket_path, ACCEPT_TIMEOUT)
        try:
            self._begin(ref, argv, env or {})
        except BaseException:
            self._connection.close()
            raise

    def _begin(self, ref: str, argv: Sequence[str], env: dict[str, str]) -> None:
        headers = {"Content-Type": MEDIA_TYPE, "Transfer-Encoding": "chunked"}
        target = f"/v1/vms/{quote(ref, safe='', errors='replace')}/exec"
        self._queue(encode_control({"argv": list(argv), "env": env, "cwd": ""}))
        if self._source is None:
            self._queue(encode(STDIN, b""))
        self._connection.send(request_head("POST", target, headers) + self._outgoing)
        self._outgoing.clear()
        response = Response.receive(self._connection)
        if response.status >= 400:
            raise problem_to_error(response.read(), response.status)
        self._pump = _Pump(response)
        self._connection.socket.setblocking(False)
        self._receive(self._pump.feed(self._connection.take_buffer()))

    def _queue(self, frame: bytes) -> None:
        self._outgoing += b"%x\r\n" % len(frame) + frame + b"\r\n"

    def run(self) -> int:
        """Pump until the command ends and return its exit status."""
        try:
            while self.status is None:
                self.advance()
            return self.status
        finally:
            self.close()

    def close(self) -> None:
        """Give up the connection; a command that still runs is ended by the daemon."""
        self._connection.close()

    def advance(self) -> None:
        """Wait for whatever comes first and handle it; ``status`` is set at the end."""
        sock, pump = self._connection.socket, self._pump
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        source = self._source.fileno() if self._source is not None else -1
        # Back-pressure: stdin is read only when everything before it has left.
        wants_input = self._source is not None and not self._outgoing
        if wants_input and source >= 0:
            poll.register(source, select.POLLIN)
        if self._interrupts >= 0:
            poll.register(self._interrupts, select.POLLIN)
        ready = dict(poll.poll(0 if wants_input and source < 0 else None))
        if self._interrupts in ready:
            for number in os.read(self._interrupts, 64):
                self._queue(encode_control({"signal": number}))
        if self._source is not None and wants_input and (source < 0 or source in ready):
            piece = self._source.read()
            self._queue(encode(STDIN, piece))
            if not piece:
                self._source = None
        if self._outgoing:
            self._flush(sock)
        if ready.get(sock.fileno(), 0) & ~select.POLLOUT:
            self._read(sock, pump)

    def _flush(self, sock: socket.socket) -> None:
        try:
            del self._outgoing[: sock.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            # The daemon stops reading once the command has ended; its answer is still to come.
            self._outgoing.clear()
            self._source = None

    def _read(self, sock: socket.socket, pump: _Pump) -> None:
        try:
            data = sock.recv(256 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise _stream_cut()
        self._receive(pump.feed(data))
        if pump.finished and self.status is None:
            raise _stream_cut()

    def _receive(self, body: bytes) -> None:
        for channel, payload in self._decoder.feed(body):
            if channel in (STDOUT, STDERR):
                self._write(channel, payload)
            elif channel == CONTROL:
                self._control(decode_control(payload))

    def _control(self, message: dict[str, object]) -> None:
        if "exit" in message:
            self.status = int(str(message["exit"])) & 0xFF
        elif isinstance(problem := message.get("error"), dict):
            raise from_dict({k: v for k, v in problem.items() if isinstance(v, str)})


def _stream_cut() -> BangerError:
    return ConnectionCut(
        "the connection to the command in the guest was lost",
        cause="bangerd or the VM went away before the command ended",
        resolution="banger ls",
    )


class _Pump:
    """Takes the transfer coding off a reply that is read without blocking."""

    def __init__(self, response: Response):
        self._chunked = response.chunked
        self._buffer = bytearray()
        self._left = 0
        self.finished = False

    def feed(self, data: bytes) -> bytes:
        """The body bytes that ``data`` completes."""
        if not self._chunked:
            return data
        self._buffer += data
        body = bytearray()
        while not self.finished:
            if self._left > 2:
                piece = self._buffer[: self._left - 2]
                body += piece
                del self._buffer[: len(piece)]
                self._left -= len(piece)
            if self._left > 2 or len(self._buffer) < self._left:
                break
            del self._buffer[: self._left]
            self._left = 0
            end = self._buffer.find(b"\r\n")
            if end < 0:
                break
            size = int(self._buffer[:end].partition(b";")[0], 16)
            del self._buffer[: end + 2]
            self.finished = size == 0
            self._left = size + 2
        return bytes(body)
