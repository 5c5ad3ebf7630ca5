"""The exec stream of the fake daemon: runs the command on this machine."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

from tests.fakes.daemon import FakeDaemon


class ByteStream(Protocol):
    """What is needed of a connection's reading side."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


def frames(stream: ByteStream) -> Iterator[tuple[int, bytes]]:
    buffer = b""
    while True:
        size = int(stream.readline().strip() or b"0", 16)
        buffer += stream.read(size)
        stream.readline()
        if not size:
            return
        while len(buffer) >= 5:
            channel, length = struct.unpack(">BI", buffer[:5])
            if len(buffer) < 5 + length:
                break
            yield channel, buffer[5 : 5 + length]
            buffer = buffer[5 + length :]


def serve_exec(fake: FakeDaemon, stream: ByteStream, chunk: Callable[[bytes], None]) -> None:
    """Run the command here, in the folder that stands for the guest."""
    received = frames(stream)
    _, first = next(received)
    asked = json.loads(first)
    argv = asked["argv"]
    lock = threading.Lock()

    def send(channel: int, payload: bytes) -> None:
        with lock:
            chunk(struct.pack(">BI", channel, len(payload)) + payload)

    try:
        child = subprocess.Popen(
            argv,
            env=os.environ | asked["env"],
            cwd=fake.guest,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        send(0, json.dumps({"error": {"code": "failed", "brief": f"{argv[0]} cannot be run",
                                      "cause": str(error.strerror), "resolution": "banger ssh x",
                                      "details": ""}}).encode())  # fmt: skip
        return
    threading.Thread(target=_feed, args=(fake, received, child), daemon=True).start()

    def pump(channel: int, stream: Any) -> None:
        try:
            while data := stream.read1(65536):
                send(channel, data)
        except OSError:
            # The client went away, and with it goes the command.
            child.kill()

    pumps = [threading.Thread(target=pump, args=(c, s))
             for c, s in ((1, child.stdout), (2, child.stderr))]  # fmt: skip
    for thread in pumps:
        thread.start()
    for thread in pumps:
        thread.join()
    status = child.wait()
    for end in (child.stdout, child.stderr, child.stdin):
        _close(end)
    try:
        send(0, json.dumps({"exit": status if status >= 0 else 128 - status}).encode())
    except OSError:
        return


def _close(end: IO[bytes] | None) -> None:
    try:
        if end is not None:
            end.close()
    except BrokenPipeError:
        pass


def _feed(
    fake: FakeDaemon, received: Iterator[tuple[int, bytes]], child: subprocess.Popen[bytes]
) -> None:
    try:
        for channel, payload in received:
            if channel == 0:
                number = json.loads(payload)["signal"]
                fake.signals.append(number)
                child.send_signal(number)
            elif child.stdin is not None and not child.stdin.closed:
                if payload:
                    child.stdin.write(payload)
                    child.stdin.flush()
                else:
                    child.stdin.close()
    except (OSError, ValueError):
        pass
