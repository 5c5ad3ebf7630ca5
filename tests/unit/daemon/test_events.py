from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from banger.daemon.handlers import events
from banger.service.events import QUEUE_LIMIT
from tests.fakes.asgi import Exchange, call
from tests.fakes.services import running


def parse(body: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


async def test_events_carry_what_the_get_gives(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, app):
        stream = Exchange(app, "GET", "/v1/events")
        await stream.until(b":")
        await call(app, "POST", "/v1/images", {"packages": ["curl"]})
        await stream.until(b'"succeeded"')
        built = (await call(app, "GET", "/v1/images/debian")).json
        await call(app, "POST", "/v1/vms", {"name": "web"})
        await stream.until(b'"name":"web","state":"stopped"')
        vm = (await call(app, "GET", "/v1/vms/web")).json
        stream.disconnect()
        reply = await stream.end()
        told = parse(reply.body)
        assert reply.headers["content-type"] == "text/event-stream"
        assert {kind for kind, _ in told} >= {"vm", "image", "operation", "step", "log"}
        assert [data for kind, data in told if kind == "vm"][-1] == vm
        images = [data for kind, data in told if kind == "image" and data["state"] == "ready"]
        assert images[0]["id"] == built["id"]


async def test_an_ended_operation_is_replayed_and_the_stream_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, app):
        begun = (await call(app, "POST", "/v1/images", {"packages": ["curl"]})).json
        done = (await call(app, "GET", f"/v1/operations/{begun['id']}?wait=5")).json
        told = parse((await call(app, "GET", f"/v1/events?operation={begun['id'][:6]}")).body)
        assert [kind for kind, _ in told] == [*["step"] * len(done["steps"]), "operation"]
        assert told[-1][1] == done
        assert told[0][1] == {"operation_id": begun["id"], **done["steps"][0]}


async def test_a_running_operation_is_followed_to_its_end(tmp_path: Path) -> None:
    async with running(tmp_path, "image.build.build.after=delay:0.1") as (_, _, app):
        begun = (await call(app, "POST", "/v1/images", {"packages": ["curl"]})).json
        stream = Exchange(app, "GET", f"/v1/events?operation={begun['id']}")
        # Something else that happens meanwhile is not told.
        other = (await call(app, "POST", "/v1/images", {"name": "b", "packages": ["vim"]})).json
        told = parse((await stream.end()).body)
        assert told[0][0] == "operation"
        assert told[-1][0] == "operation"
        assert told[-1][1]["status"] == "succeeded"
        assert other["id"] not in json.dumps(told)
        assert not [kind for kind, _ in told if kind in {"vm", "image"}]


async def test_an_unknown_operation_is_refused_before_the_stream(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, app):
        assert (await call(app, "GET", "/v1/events?operation=ffffffffffff")).status == 404
        assert (await call(app, "GET", "/v1/events?operation=")).status == 404
        assert (await call(app, "GET", "/v1/events?since=1")).status == 400


async def test_silence_is_filled_and_a_slow_reader_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.01)
    async with running(tmp_path) as (house, _, app):
        stream = Exchange(app, "GET", "/v1/events")
        await stream.until(b": alive\n\n: alive\n\n: alive\n\n")
        for number in range(QUEUE_LIMIT + 1):
            house.context.events.publish("log", {"number": number})
        assert parse((await stream.end()).body) == [("lost", {})]


async def test_streams_end_with_the_daemon(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, assembly, app):
        streams = [Exchange(app, "GET", "/v1/events") for _ in range(3)]
        await asyncio.gather(*(stream.until(b":") for stream in streams))
        assembly.services.stop()
        for stream in streams:
            await stream.end(timeout=1)
