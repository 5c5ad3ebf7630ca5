from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from banger.api import frames
from banger.daemon.application import Application
from banger.daemon.handlers import exec as execution
from banger.daemon.ports import Services
from banger.drivers.guest.base import Chunk, GuestCommand
from banger.errors import NoAgent, VMMFailed
from tests.fakes.asgi import Exchange
from tests.fakes.services import running


class Cat:
    """A guest process that gives back its stdin; signals and closing end it."""

    def __init__(self, *, reads: bool = True) -> None:
        self.command = GuestCommand(())
        self.signals: list[int] = []
        self.closed = 0
        self.reads = reads
        self.broken: Exception | None = None
        self._pieces: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self._status = 0

    async def write(self, data: bytes) -> None:
        if not self.reads:
            await asyncio.Event().wait()
        if self.broken:
            raise self.broken
        self._pieces.put_nowait(Chunk("stdout", data) if data else None)

    async def output(self) -> AsyncIterator[Chunk]:
        yield Chunk("stderr", b"ready")
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def status(self) -> int:
        return self._status

    async def signal(self, number: int) -> None:
        self.signals.append(number)
        self._status = 128 + number
        self._pieces.put_nowait(None)

    async def close(self) -> None:
        self.closed += 1

    def end(self, status: int) -> None:
        self._status = status
        self._pieces.put_nowait(None)


class Bench:
    """An application whose only guest process is ``cat``."""

    def __init__(self, app: Application, services: Services, cat: Cat) -> None:
        self.app = app
        self.services = services
        self.cat = cat
        self.refusal: Exception | None = None

    async def execute(self, reference: str, command: GuestCommand) -> Cat:
        if self.refusal:
            raise self.refusal
        self.cat.command = command
        return self.cat

    def begin(self, *pieces: bytes, media: str = "application/vnd.banger.stream") -> Exchange:
        target = "/v1/vms/web/exec"
        exchange = Exchange(self.app, "POST", target, None, (("content-type", media),))
        for piece in pieces:
            exchange.feed(piece)
        return exchange


START = frames.encode_control({"argv": ["cat", "-"], "env": {"A": "1"}})


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with running(tmp_path) as (_, assembly, app):
        made = Bench(app, assembly.services, Cat())
        monkeypatch.setattr(assembly.services.access, "execute", made.execute)
        yield made


def received(body: bytes) -> tuple[bytes, bytes, Any]:
    """Stdout, stderr and the last control message."""
    decoder = frames.Decoder()
    got = decoder.feed(body)
    assert decoder.pending == 0
    controls = [json.loads(frame.payload) for frame in got if frame.channel == 0]
    assert len(controls) == 1
    assert got[-1].channel == 0
    out = b"".join(frame.payload for frame in got if frame.channel == frames.STDOUT)
    err = b"".join(frame.payload for frame in got if frame.channel == frames.STDERR)
    return out, err, controls[0]


async def test_both_directions_flow_at_once(bench: Bench) -> None:
    exchange = bench.begin(START)
    await exchange.until(b"ready")
    exchange.feed(frames.encode(frames.STDIN, b"\x00one"))
    await exchange.until(b"\x00one")
    exchange.feed(frames.encode(frames.STDIN, b"two") + frames.encode(frames.STDIN, b""))
    reply = await exchange.end()
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/vnd.banger.stream"
    assert received(reply.body) == (b"\x00onetwo", b"ready", {"exit": 0})
    assert bench.cat.command == GuestCommand(("cat", "-"), {"A": "1"}, "")
    assert bench.cat.closed == 1


async def test_the_end_of_the_request_is_the_end_of_stdin(bench: Bench) -> None:
    exchange = bench.begin(START)
    exchange.feed(frames.encode(frames.STDIN, b"x"), more=False)
    assert received((await exchange.end()).body)[0] == b"x"


async def test_frames_may_come_cut_anywhere(bench: Bench) -> None:
    stream = START + frames.encode(frames.STDIN, b"abc") + frames.encode(frames.STDIN, b"")
    exchange = bench.begin(*(stream[at : at + 1] for at in range(len(stream))))
    assert received((await exchange.end()).body) == (b"abc", b"ready", {"exit": 0})


async def test_a_signal_reaches_the_command(bench: Bench) -> None:
    exchange = bench.begin(START, frames.encode_control({"signal": 2}))
    assert received((await exchange.end()).body)[2] == {"exit": 130}
    assert bench.cat.signals == [2]


async def test_a_client_that_goes_ends_the_command(bench: Bench) -> None:
    exchange = bench.begin(START)
    await exchange.until(b"ready")
    exchange.disconnect()
    await exchange.end()
    assert bench.cat.closed == 1


async def test_a_client_that_goes_before_it_begins_is_nobodys_error(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = bench.begin(START[:4])
    exchange.disconnect()
    await exchange.end()
    assert bench.cat.closed == 0
    assert not caplog.records


async def test_a_going_client_is_seen_while_stdin_is_stuck(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_PEER_INTERVAL", 0.01)
    bench.cat.reads = False
    gone: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope[execution.PEER_GONE] = lambda: bool(gone)
        await bench.app(scope, receive, send)

    bench_app, bench.app = bench.app, app  # type: ignore[assignment]
    exchange = bench.begin(START, frames.encode(frames.STDIN, b"never read"))
    bench.app = bench_app
    await exchange.until(b"ready")
    await asyncio.sleep(0.05)
    assert not exchange.complete.is_set()
    gone.append(True)
    await exchange.end()
    assert bench.cat.closed == 1


async def test_a_command_that_closes_its_stdin_goes_on(bench: Bench) -> None:
    bench.cat.broken = VMMFailed("the command reads no more")
    exchange = bench.begin(START, frames.encode(frames.STDIN, b"x"))
    await exchange.until(b"ready")
    exchange.feed(frames.encode(frames.STDIN, b"y"))
    bench.cat.end(3)
    assert received((await exchange.end()).body)[2] == {"exit": 3}


async def test_no_agent_is_told_before_the_stream(bench: Bench) -> None:
    bench.refusal = NoAgent("web has no agent", cause="old image", resolution="banger ssh web")
    reply = await bench.begin(START).end()
    assert reply.status == 409
    assert reply.json["code"] == "no_agent"


@pytest.mark.parametrize(
    ("piece", "status"),
    [
        (frames.encode_control({}), 422),
        (frames.encode_control({"argv": []}), 422),
        (frames.encode_control({"argv": ["a\0b"]}), 422),
        (frames.encode_control({"argv": ["a"], "env": {"A=B": "1"}}), 422),
        (frames.encode_control({"argv": ["a"], "cwd": "relative"}), 422),
        (frames.encode_control({"argv": ["a"], "tty": True}), 422),
        (frames.encode(0, b"no json"), 400),
        (frames.encode(1, b"stdin first"), 400),
        (frames.encode(2, b"wrong direction"), 400),
        (b"\x00\xff\xff\xff\xff", 400),
    ],
)
async def test_a_malformed_beginning_is_a_problem(bench: Bench, piece: bytes, status: int) -> None:
    reply = await bench.begin(piece).end()
    assert reply.status == status
    assert reply.json["code"] == "invalid_input"
    assert bench.cat.closed == 0


async def test_an_empty_request_and_another_type_are_problems(bench: Bench) -> None:
    exchange = bench.begin()
    exchange.feed(b"", more=False)
    assert (await exchange.end()).status == 400
    assert (await bench.begin(START, media="application/json").end()).status == 415


@pytest.mark.parametrize(
    "piece",
    [
        frames.encode_control({"signal": 0}),
        frames.encode_control({"signal": 65}),
        frames.encode_control({"resize": [80, 24]}),
        b"\x07\x00\x00\x00\x00",
    ],
)
async def test_a_malformed_stream_ends_the_command_with_an_error(
    bench: Bench, piece: bytes
) -> None:
    exchange = bench.begin(START)
    await exchange.until(b"ready")
    exchange.feed(piece)
    control = received((await exchange.end()).body)[2]
    assert control["error"]["code"] == "invalid_input"
    assert bench.cat.closed == 1


async def test_a_stream_cut_within_a_frame_is_an_error(bench: Bench) -> None:
    exchange = bench.begin(START)
    exchange.feed(b"\x01\x00\x00", more=False)
    assert received((await exchange.end()).body)[2]["error"]["code"] == "invalid_input"


async def test_the_daemon_ends_commands_when_it_ends(bench: Bench) -> None:
    exchange = bench.begin(START)
    await exchange.until(b"ready")
    bench.services.stop()
    control = received((await exchange.end(timeout=1)).body)[2]
    assert control["error"]["cause"] == "bangerd is ending"
    assert bench.cat.closed == 1


async def test_a_defect_in_the_stream_is_told_without_its_detail(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.cat.broken = ZeroDivisionError("secret")
    exchange = bench.begin(START, frames.encode(frames.STDIN, b"x"))
    control = received((await exchange.end()).body)[2]
    assert control["error"]["code"] == "internal"
    assert "secret" not in json.dumps(control)
    assert "secret" in caplog.text
