"""The agent of guests, run here as a process: on one end of a socket pair, or behind a socket."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import banger

GUEST_FILES = Path(banger.__file__).parent / "guest_files"
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from agent.main import main; main()"


def start_agent(fd: int, *, arguments: tuple[str, ...] | None = None) -> subprocess.Popen[bytes]:
    """Start the agent on an open socket, as in a guest without the site module."""
    given = (str(fd),) if arguments is None else arguments
    argv = [sys.executable, "-I", "-S", "-B", "-c", _START, str(GUEST_FILES), *given]
    return subprocess.Popen(argv, pass_fds=[fd])


class RawAgent:
    """The agent on a socket pair, spoken to byte by byte."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        with theirs:
            self.process = start_agent(theirs.fileno())
        self._inbox = b""

    def send(self, message: dict[str, Any], payload: bytes | None = None) -> None:
        if payload is not None:
            message = {**message, "n": len(payload)}
        self.socket.sendall(json.dumps(message).encode() + b"\n" + (payload or b""))

    def receive(self) -> tuple[dict[str, Any], bytes]:
        line = b""
        while not line.strip():
            line = self._until_newline()
        message: dict[str, Any] = json.loads(line)
        return message, self._exactly(int(message.get("n", 0)))

    def hello(self, nonce: str = "n") -> None:
        self.send({"type": "hello", "nonce": nonce, "version": 1})
        answer = self.receive()
        if answer[0] == {"type": "ready"}:
            answer = self.receive()
        assert answer == ({"type": "hello", "nonce": nonce, "version": 1}, b"")

    def until(self, kind: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The next message of a kind, and the output that came before it."""
        output = {"stdout": b"", "stderr": b""}
        while True:
            message, payload = self.receive()
            if message["type"] == kind:
                return message, output
            if message["type"] == "data":
                output[message["channel"]] += payload

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        self.socket.settimeout(seconds)
        try:
            return not self._inbox and self.socket.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)

    def close(self) -> None:
        self.socket.close()
        self.process.wait(20)

    def _until_newline(self) -> bytes:
        while b"\n" not in self._inbox:
            self._more()
        line, _, self._inbox = self._inbox.partition(b"\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._inbox) < size:
            self._more()
        data, self._inbox = self._inbox[:size], self._inbox[size:]
        return data

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError("the agent has closed its socket")
        self._inbox += data


class ListeningAgent:
    """The agent as it serves a vsock: it listens, here at a Unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(8)
            self.process = start_agent(
                listener.fileno(), arguments=("listen", str(listener.fileno()))
            )

    def close(self) -> None:
        self.process.kill()
        self.process.wait(20)


class VsockSocket:
    """A Unix socket as Firecracker gives one for its vsock, and what listens in its guest.

    It answers ``CONNECT port`` as that does: ``OK`` and a connection where something listens,
    the end of the connection where nothing does, nothing at all to what it does not understand
    and while the guest is ``deaf`` (it has no driver yet, or is paused).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ports: dict[int, Path] = {}
        self.deaf = False
        #: All that was asked for.
        self.lines: list[bytes] = []
        self._open: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(8)
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def drop_all(self) -> None:
        """End every connection, as a reset of the device does."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self.drop_all()
        for thread in self._threads:
            thread.join(20)
        self._server.close()
        for connection in self._open:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._connect, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _connect(self, connection: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\n"):
            byte = connection.recv(1)
            if not byte:
                return
            line += byte
        self.lines.append(line)
        word, _, port = line.strip().partition(b" ")
        if self.deaf or word != b"CONNECT" or not port.isdigit():
            return
        try:
            guest = socket.socket(socket.AF_UNIX)
            self._open.append(guest)
            guest.connect(str(self.ports[int(port)]))
        except (OSError, KeyError):
            connection.shutdown(socket.SHUT_RDWR)
            return
        connection.sendall(b"OK 1073741824\n")
        back = threading.Thread(target=_copy, args=(guest, connection))
        back.start()
        _copy(connection, guest)
        back.join(20)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class AgentPort:
    """A Unix socket as QEMU gives one: one connection at a time, an agent behind each."""

    def __init__(self, path: Path, *, garbage: bytes = b"") -> None:
        self.path = path
        self.agents: list[subprocess.Popen[bytes]] = []
        self._garbage = garbage
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        for agent in self.agents:
            agent.kill()
        self._thread.join(20)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(self._garbage)
                self.agents.append(start_agent(connection.fileno()))
            self.agents[-1].wait()


def wait_until(condition: Any, seconds: float = 20) -> None:
    """Fail unless the condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)
