from __future__ import annotations

import json
import os
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from banger.client.client import BangerClient
from banger.client.exec_stream import DescriptorInput, ExecStream, IteratorInput
from banger.client.transport import ConnectionCut
from banger.errors import BangerError, Conflict, InvalidInput, NoAgent
from tests.fakes.cli_home import CLIHome


def run(banger: CLIHome, *argv: str, pieces: list[bytes] | None = None) -> tuple[int, bytes, bytes]:
    output = {1: bytearray(), 2: bytearray()}
    source = IteratorInput(iter(pieces)) if pieces is not None else None
    stream = ExecStream(
        BangerClient(str(banger.fake.socket_path)),
        "web",
        argv,
        write=lambda channel, data: output[channel].extend(data),
        source=source,
    )
    return stream.run(), bytes(output[1]), bytes(output[2])


def test_streams_and_status(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    assert run(banger, "sh", "-c", "echo o; echo e >&2; exit 3") == (3, b"o\n", b"e\n")
    assert run(banger, "cat") == (0, b"", b"")


def test_both_directions_at_once(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    data = os.urandom(3_000_000)
    pieces = [data[at : at + 100_001] for at in range(0, len(data), 100_001)]
    assert run(banger, "cat", pieces=[*pieces[:5], b"", *pieces[5:]]) == (0, data, b"")


def test_a_command_that_does_not_read_ends_all_the_same(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    pieces = [b"x" * 65536] * 200
    assert run(banger, "sh", "-c", "exec <&-; echo done", pieces=pieces)[:2] == (0, b"done\n")


def test_refusals(banger: CLIHome) -> None:
    vm = banger.fake.add_vm("web")
    with pytest.raises(Conflict):
        run(banger, "true")
    vm["state"] = "running"
    with pytest.raises(BangerError, match="cannot be run"):
        run(banger, "/no/such/program")
    banger.fake.agent = False
    with pytest.raises(NoAgent):
        run(banger, "true")


def frame(channel: int, payload: bytes) -> bytes:
    return struct.pack(">BI", channel, len(payload)) + payload


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


EXIT = frame(0, json.dumps({"exit": 4}).encode())
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answered(folder: Path, pieces: list[bytes]) -> tuple[int, bytes]:
    """The outcome when the daemon sends exactly ``pieces``."""
    path = str(folder / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        output = bytearray()
        try:
            stream = ExecStream(
                BangerClient(path), "web", ["x"], write=lambda _, data: output.extend(data)
            )
            return stream.run(), bytes(output)
        finally:
            thread.join()


def test_replies_cut_into_single_bytes(tmp_path: Path) -> None:
    body = chunk(frame(1, b"he") + frame(1, b"l")[:3]) + chunk(frame(1, b"l")[3:] + EXIT)
    reply = HEAD + body + b"0\r\n\r\n"
    assert answered(tmp_path, [reply[at : at + 1] for at in range(len(reply))]) == (4, b"hel")


@pytest.mark.parametrize(
    "reply", [HEAD, HEAD + chunk(frame(1, b"x")), HEAD + chunk(frame(1, b"x")) + b"0\r\n\r\n"]
)
def test_a_stream_without_an_end(tmp_path: Path, reply: bytes) -> None:
    with pytest.raises(ConnectionCut):
        answered(tmp_path, [reply])


def test_a_malformed_frame(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        answered(tmp_path, [HEAD + chunk(struct.pack(">BI", 1, 1 << 31))])


def test_a_broken_stdin_is_an_empty_one() -> None:
    assert DescriptorInput(10_000).read() == b""
