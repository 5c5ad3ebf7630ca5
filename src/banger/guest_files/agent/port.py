"""The byte channel to the host: queues what goes out, cuts what comes in into messages."""

from __future__ import annotations

import os
from _collections_abc import Iterator

from .text import decode, encode

#: virtio-serial takes 32 KiB at a time: a message, its header included, fits into one write.
WRITE_SIZE = 32 * 1024
PIECE = WRITE_SIZE - 128
#: With more than this waiting to go out, no command's output is read.
QUEUE_LIMIT = 256 * 1024
#: A longer line, or payload, cannot be part of a message.
SIZE_LIMIT = 4 * 1024 * 1024
#: Reads per turn of the loop; virtio-serial gives at most 4 KiB each.
_READS = 32


class Message(dict[str, object]):
    """A message from the host. Its accessors raise ``ValueError`` for what does not fit."""

    def integer(self, name: str) -> int:
        value = self.get(name)
        if not isinstance(value, int):
            raise ValueError(f"{name} must be a number")
        return value

    def text(self, name: str) -> str:
        value = self.get(name, "")
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text")
        return value


class Port:
    """One open file to the host, never waited for."""

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd
        self.queued = 0
        self.queue: list[bytes] = []
        self.inbox = bytearray()
        self._header: Message | None = None
        self._size = 0
        if fd >= 0:
            os.set_blocking(fd, False)

    def replace(self, fd: int) -> None:
        """Serve another file from now on (-1: none); the old one is closed."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = fd
        self.reset_input()
        self.queue.clear()
        self.queued = 0
        if fd >= 0:
            os.set_blocking(fd, False)

    def reset_input(self) -> None:
        """Forget what came in."""
        self.inbox.clear()
        self._header = None

    def reset_output(self) -> None:
        """Forget what waits to go out; what follows starts on a line of its own."""
        self.queue.clear()
        self.queue.append(b"\n")
        self.queued = 1

    def put(self, message: dict[str, object], payload: bytes | None = None) -> None:
        """Queue a message."""
        if payload is not None:
            message["n"] = len(payload)
        data = encode(message).encode() + b"\n" + (payload or b"")
        self.queue.append(data)
        self.queued += len(data)

    def flush(self) -> None:
        """Write what the port takes now."""
        while self.queue:
            data = self.queue.pop(0)
            while self.queue and len(data) + len(self.queue[0]) <= WRITE_SIZE:
                data += self.queue.pop(0)
            try:
                done = os.write(self.fd, data)
            except OSError:
                done = 0  # it is full, or the other side has gone and poll will tell
            self.queued -= done
            if done < len(data):
                self.queue.insert(0, data[done:])
                if done == 0:
                    return

    def fill(self) -> bool:
        """Read a bounded portion of what has come; False if the other side is gone."""
        for _ in range(_READS):
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self.inbox += data
        return True

    def messages(self) -> Iterator[tuple[Message, bytes]]:
        """The complete messages in the inbox, each with its payload."""
        while True:
            if self._header is None and not self._read_header():
                return
            if self._header is None:
                continue
            if len(self.inbox) < self._size:
                return
            header, payload = self._header, bytes(self.inbox[: self._size])
            self._header = None
            del self.inbox[: self._size]
            yield header, payload

    def _read_header(self) -> bool:
        """Take a line off the inbox; False if there is no whole one."""
        end = self.inbox.find(b"\n")
        if end < 0:
            if len(self.inbox) > SIZE_LIMIT:
                self.inbox.clear()
            return False
        line = bytes(self.inbox[:end])
        del self.inbox[: end + 1]
        try:
            found = decode(line.decode())
            if not isinstance(found, dict):
                return True
            header = Message(found)
            size = header.integer("n") if "n" in header else 0
        except (ValueError, TypeError):
            return True  # an empty line, or the rest of a conversation that was cut off
        if 0 <= size <= SIZE_LIMIT:
            self._header, self._size = header, size
        return True
