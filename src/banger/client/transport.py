"""HTTP/1.1 over the Unix socket: one connection per request, replies whole or in pieces.

Written on ``socket`` alone, because the standard HTTP client loads the e-mail and TLS packages,
which would cost each command more time than the whole exchange with the daemon.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from banger.errors import BangerError, DaemonUnreachable, DeadlineExceeded, PermissionRefused

#: Limits that a well-behaved daemon never reaches; they bound what a faulty one can cost.
MAX_LINE = 64 * 1024
MAX_HEADERS = 100
MAX_BODY = 256 * 1024 * 1024
PIECE = 256 * 1024
#: Seconds for a reply to an ordinary request.
TIMEOUT = 30.0


class DaemonSilent(DaemonUnreachable):
    """Nobody listens on the socket: bangerd is not running."""

    code = "daemon_silent"


class ConnectionCut(DaemonUnreachable):
    """The daemon went away in the middle of a reply."""

    code = "connection_cut"


#: No daemon runs, or the one that did is ending: connections to one that was killed are taken by
#: the kernel until it is gone, and then cut.
NOT_THERE = (DaemonSilent, ConnectionCut)


class ProtocolBroken(BangerError):
    """What came from the socket is not the HTTP that banger's daemon speaks."""

    code = "protocol"
    exit_status = DaemonUnreachable.exit_status


def _broken(what: str) -> ProtocolBroken:
    return ProtocolBroken(
        "bangerd gave an answer that cannot be read",
        cause=what,
        resolution="banger daemon restart",
    )


class Connection:
    """One connection to the daemon, used for one request."""

    def __init__(self, path: str, timeout: float = TIMEOUT):
        self._buffer = bytearray()
        self._timeout = timeout
        #: Called every ``tick`` seconds while a reply is awaited (to animate a display).
        self.on_idle: Callable[[], None] | None = None
        self.tick = 0.1
        self._next_idle = 0.0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            self.socket.close()
            raise DaemonSilent(
                "bangerd is not running",
                cause=f"nobody listens on {path}",
                resolution="banger daemon start",
            ) from None
        except PermissionError:
            self.socket.close()
            raise PermissionRefused(
                "bangerd's socket may not be used",
                cause=f"no permission for {path}",
                resolution="run banger as the user who owns the socket",
            ) from None
        except (OSError, ValueError) as error:
            self.socket.close()
            raise DaemonUnreachable(
                "bangerd cannot be reached",
                cause=f"{path}: {error}",
                resolution="banger daemon restart",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise _late() from None
        except OSError:
            raise _cut() from None

    def _fill(self) -> bool:
        """Read more into the buffer; False at the end of the stream."""
        if self.on_idle is not None:
            self._wait(self.on_idle)
        try:
            piece = self.socket.recv(PIECE)
        except TimeoutError:
            raise _late() from None
        except OSError:
            raise _cut() from None
        self._buffer += piece
        return bool(piece)

    def _wait(self, on_idle: Callable[[], None]) -> None:
        """Wait for data; ``on_idle`` keeps its pace also when data of no interest comes."""
        deadline = time.monotonic() + self._timeout
        while True:
            ready = select.select([self.socket], [], [], self.tick)[0]
            now = time.monotonic()
            if now >= self._next_idle:
                self._next_idle = now + self.tick
                on_idle()
            if ready:
                return
            if now > deadline:
                raise _late()

    def line(self) -> bytes:
        """The next line without its end."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > MAX_LINE:
                raise _broken("a line is too long")
            if not self._fill():
                raise _cut()
        if end > MAX_LINE:
            raise _broken("a line is too long")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def some(self, limit: int) -> bytes:
        """At least one and at most ``limit`` bytes; empty at the end of the stream."""
        if not self._buffer and not self._fill():
            return b""
        piece = bytes(self._buffer[:limit])
        del self._buffer[: len(piece)]
        return piece

    def take_buffer(self) -> bytes:
        """What was received already and not yet used."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


def _cut() -> ConnectionCut:
    return ConnectionCut(
        "bangerd went away while it was answering",
        cause="the connection was closed before the reply was complete",
        resolution="banger daemon status",
    )


def _late() -> DeadlineExceeded:
    return DeadlineExceeded(
        "bangerd did not answer in time",
        cause="it is busy or hangs",
        resolution="banger daemon logs",
    )


def request_head(method: str, target: str, headers: dict[str, str]) -> bytes:
    """The bytes of a request up to and including the empty line."""
    lines = [f"{method} {target} HTTP/1.1", "Host: banger", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Response:
    """Status, headers and a body that is read from the connection once."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str]):
        self.connection = connection
        self.status = status
        self.headers = headers

    @classmethod
    def receive(cls, connection: Connection) -> Response:
        """Read the status line and the headers; interim (1xx) replies are skipped."""
        status = 100
        headers: dict[str, str] = {}
        while 100 <= status < 200:
            words = connection.line().split(None, 2)
            if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
                raise _broken("the status line is malformed")
            status = int(words[1])
            headers = {}
            count = 0
            while line := connection.line():
                name, colon, value = line.partition(b":")
                count += 1
                if not colon or count > MAX_HEADERS:
                    raise _broken("the headers are malformed")
                headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        return cls(connection, status, headers)

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives."""
        if self.status in (204, 304):
            return
        if self.chunked:
            yield from self._chunks()
            return
        length = self.headers.get("content-length", "")
        if length:
            if not length.isdigit():
                raise _broken("Content-Length is not a number")
            yield from self._exactly(int(length))
            return
        while piece := self.connection.some(PIECE):
            yield piece

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = self.connection.some(min(size, PIECE))
            if not piece:
                raise _cut()
            size -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            text = self.connection.line().partition(b";")[0].strip()
            try:
                size = int(text, 16)
            except ValueError:
                raise _broken("a chunk's size is not a number") from None
            if size < 0:
                raise _broken("a chunk's size is negative")
            if size == 0:
                while self.connection.line():
                    pass
                return
            yield from self._exactly(size)
            if self.connection.line():
                raise _broken("a chunk is longer than announced")

    def read(self) -> bytes:
        """The whole body."""
        parts: list[bytes] = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            if size > MAX_BODY:
                raise _broken("the reply is too large")
            parts.append(piece)
        return b"".join(parts)
