from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.client import transport
from banger.client.client import BangerClient, problem_to_error
from banger.client.events import parse_events
from banger.client.transport import (
    Connection,
    ConnectionCut,
    DaemonSilent,
    ProtocolBroken,
    Response,
)
from banger.errors import (
    BangerError,
    Conflict,
    DaemonUnreachable,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
)
from tests.fakes.cli_home import CLIHome


@contextmanager
def answering(folder: Path, reply: bytes, *, hang: bool = False) -> Iterator[str]:
    """A server that gives one fixed reply to whoever asks."""
    path = str(folder / "s")
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(reply)
                if hang:
                    done.wait(5)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        done.set()
        thread.join()


def body(folder: Path, reply: bytes) -> bytes:
    with answering(folder, reply) as path, Connection(path) as connection:
        connection.send(b"GET / HTTP/1.1\r\n\r\n")
        return Response.receive(connection).read()


def test_bodies(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    for reply in (
        head + b"Content-Length: 5\r\n\r\nhello, and more",
        head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: x\r\n\r\n",
        head + b"\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"content-length:5\r\n\r\nhello",
    ):
        assert body(tmp_path, reply) == b"hello"
        (tmp_path / "s").unlink()
    assert body(tmp_path, b"HTTP/1.1 204 No\r\n\r\n") == b""


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ],
)
def test_cut_replies(tmp_path: Path, reply: bytes) -> None:
    with pytest.raises(ConnectionCut):
        body(tmp_path, reply)


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
    ],
)
def test_broken_replies(tmp_path: Path, reply: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        body(tmp_path, reply)


@given(st.binary(max_size=400))
def test_any_reply_is_read_or_refused(reply: bytes) -> None:
    left, right = socket.socketpair()
    with left, right:
        right.sendall(b"HTTP/1.1 200 OK\r\n" + reply)
        right.shutdown(socket.SHUT_WR)
        connection = Connection.__new__(Connection)
        connection.__dict__.update(
            socket=left, _buffer=bytearray(), _timeout=1, on_idle=None, tick=0.1, _next_idle=0.0
        )
        with suppress(BangerError):
            Response.receive(connection).read()


def test_size_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_BODY", 10)
    with pytest.raises(ProtocolBroken, match="cannot be read"):
        body(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 11)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DaemonSilent):
        Connection(str(tmp_path / "none"))
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    with pytest.raises(DaemonSilent):
        Connection(str(stale))
    with pytest.raises(DaemonUnreachable):
        Connection(str(tmp_path / ("x" * 200)))


def test_deadline_and_idling(tmp_path: Path) -> None:
    with answering(tmp_path, b"", hang=True) as path, Connection(path, 0.3) as connection:
        connection.send(b"GET / HTTP/1.1\r\n\r\n")
        ticks: list[int] = []
        connection.tick = 0.05
        connection.on_idle = lambda: ticks.append(1)
        with pytest.raises(DeadlineExceeded):
            Response.receive(connection)
        assert len(ticks) >= 3
        connection.on_idle = None
        with pytest.raises(DeadlineExceeded):
            Response.receive(connection)


def test_problems_become_errors() -> None:
    error = problem_to_error(b'{"code": "conflict", "brief": "b", "cause": "c"}', 409)
    assert (type(error), error.brief, error.cause) == (Conflict, "b", "c")
    assert problem_to_error(b'{"detail": "d", "code": 3}', 500).brief == "d"
    assert "status 502" in problem_to_error(b"<html>", 502).brief
    assert "status 500" in problem_to_error(b"[]", 500).brief


def test_names_are_quoted_and_never_empty(banger: CLIHome) -> None:
    client = BangerClient(str(banger.fake.socket_path))
    with pytest.raises(InvalidInput):
        client.vm("")
    for name in ("a/b", "a?b", "a b", "\udcff", "../../v1/daemon/stop", "."):
        with pytest.raises(NotFound):
            client.vm(name)
    assert all(path.startswith("/v1/vms/") for _, path, _ in banger.fake.requests)


EVENTS = b': hi\r\n\r\nevent: vm\ndata: {"a": 1}\n\ndata: x\n\nevent: log\ndata: {\ndata: }\n\n'


@given(st.lists(st.integers(0, len(EVENTS)), max_size=6))
def test_events_cut_anywhere(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(EVENTS)]
    pieces = [EVENTS[a:b] for a, b in pairwise(edges)]
    assert list(parse_events(pieces)) == [("vm", {"a": 1}), ("log", {})]


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_any_stream_gives_events_or_nothing(pieces: list[bytes]) -> None:
    assert all(isinstance(event.data, dict) for event in parse_events(pieces))
