"""The whole application in process over the real services and a fake host."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from banger.daemon.application import Application
from banger.daemon.ports import Services
from tests.fakes.asgi import Exchange, Header, Reply, call
from tests.fakes.services import running


class API:
    """Calls the application and insists on well-formed answers."""

    def __init__(self, app: Application, services: Services) -> None:
        self.app = app
        self.services = services

    async def __call__(
        self, method: str, target: str, body: object = None, *headers: Header
    ) -> Reply:
        reply = await call(self.app, method, target, body, *headers)
        if reply.status >= 400:
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json["status"] == reply.status
            assert reply.json["brief"]
        return reply

    async def ended(self, reply: Reply) -> Any:
        """Wait for the operation of a 202 answer."""
        assert reply.status == 202, reply.json
        assert reply.headers["location"] == f"/v1/operations/{reply.json['id']}"
        return (await self("GET", f"{reply.headers['location']}?wait=5")).json

    async def with_image(self) -> API:
        done = await self.ended(await self("POST", "/v1/images", {"packages": ["curl"]}))
        assert done["status"] == "succeeded"
        return self

    async def with_vm(self, name: str = "web") -> API:
        await self.with_image()
        await self.ended(await self("POST", "/v1/vms", {"name": name}))
        return self


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[API]:
    async with running(tmp_path) as (_, assembly, app):
        yield API(app, assembly.services)


async def test_the_first_answer_says_who_answers(api: API) -> None:
    about = (await api("GET", "/")).json
    assert about["name"] == "banger"
    assert about["build"] == "build-1"
    assert about["api"] == ["v1"]


async def test_the_daemon_tells_its_files_and_drivers(api: API) -> None:
    await api.with_vm()
    facts = (await api("GET", "/v1/daemon")).json
    assert facts["vms_total"] == 1
    assert facts["vms_running"] == 0
    assert facts["drivers"]["vmm"]["accelerator"] == "fake"


async def test_a_vm_is_made_started_renamed_and_deleted(api: API) -> None:
    await api.with_vm()
    vm = (await api("GET", "/v1/vms/web")).json
    assert vm["state"] == "stopped"
    assert vm["created_at"].endswith("Z")
    assert vm["started_at"] is None
    started = await api.ended(await api("POST", "/v1/vms/web/start", {"wait": True}))
    assert started["status"] == "succeeded"
    assert [step["phase"] for step in started["steps"]] == ["done"] * len(started["steps"])
    assert all(step["title"] != step["name"] for step in started["steps"])
    vm = (await api("GET", f"/v1/vms/{vm['id'][:6]}")).json
    assert vm["state"] == "running"
    assert vm["accelerator"] == "fake"
    refused = await api("DELETE", "/v1/vms/web")
    assert refused.status == 409
    await api.ended(await api("POST", "/v1/vms/web/stop"))
    await api.ended(await api("PATCH", "/v1/vms/web", {"name": "shop"}))
    assert (await api("GET", "/v1/vms/web")).status == 404
    assert (await api("GET", "/v1/vms/shop")).json["last_exit"]["reason"] == "stopped"
    gone = await api.ended(await api("DELETE", "/v1/vms/shop?force=true"))
    assert gone["status"] == "succeeded"
    assert (await api("GET", "/v1/vms")).json == {"vms": []}


@pytest.mark.parametrize("action", ["start", "stop", "kill", "restart", "pause", "resume"])
async def test_actions_need_no_body_and_name_what_is_missing(api: API, action: str) -> None:
    reply = await api("POST", f"/v1/vms/nobody/{action}")
    assert reply.status == 404
    assert "nobody" in reply.json["brief"]
    reply = await api("POST", f"/v1/vms/nobody/{action}", {"unknown": 1})
    assert reply.status == 422


async def test_the_same_idempotency_key_gives_the_same_operation(api: API) -> None:
    await api.with_image()
    key = ("Idempotency-Key", "one-and-only")
    first = await api("POST", "/v1/vms", {}, key)
    second = await api("POST", "/v1/vms", {}, key)
    assert first.json["id"] == second.json["id"]
    assert len((await api("GET", "/v1/vms")).json["vms"]) == 1
    bad = await api("POST", "/v1/vms", {}, ("Idempotency-Key", "with blank"))
    assert bad.status == 400


async def test_a_list_holds_only_the_fields_asked_for(api: API) -> None:
    await api.with_vm()
    assert (await api("GET", "/v1/vms?fields=state,name")).json == {
        "vms": [{"name": "web", "state": "stopped"}]
    }
    for bad in ("fields=", "fields=nam", "fields=name&fields=state", "field=name", "x"):
        assert (await api("GET", f"/v1/vms?{bad}")).status == 400


async def test_images_are_listed_shown_and_kept_while_used(api: API) -> None:
    await api.with_vm()
    (image,) = (await api("GET", "/v1/images")).json["images"]
    assert image["used_by"] == ["web"]
    assert (await api("GET", f"/v1/images/{image['id']}")).json == image
    assert (await api("DELETE", "/v1/images/debian")).status == 409
    assert (await api("POST", "/v1/images", {"packages": ["curl"]})).status == 409
    await api.ended(await api("DELETE", "/v1/vms/web"))
    await api.ended(await api("DELETE", "/v1/images/debian"))
    assert (await api("GET", "/v1/images")).json == {"images": []}


async def test_operations_are_listed_and_awaited(api: API) -> None:
    await api.with_vm()
    listed = (await api("GET", "/v1/operations")).json["operations"]
    assert [one["kind"] for one in listed] == ["image.build", "vm.create"]
    assert (await api("GET", "/v1/operations?active=true")).json == {"operations": []}
    assert (await api("POST", f"/v1/operations/{listed[0]['id']}/cancel")).status == 409
    assert (await api("GET", "/v1/operations/ffffffffffff")).status == 404
    assert (await api("GET", f"/v1/operations/{listed[0]['id']}?wait=61")).status == 400


async def test_access_tells_the_way_in(api: API) -> None:
    await api.with_vm()
    assert (await api("GET", "/v1/vms/web/access")).status == 409
    await api.ended(await api("POST", "/v1/vms/web/start"))
    access = (await api("GET", "/v1/vms/web/access")).json
    assert access["ssh"][-1] == "root@10.208.0.2"
    assert access["agent"] is True


async def test_logs_are_plain_text_and_can_be_followed(api: API) -> None:
    await api.with_vm()
    await api.ended(await api("POST", "/v1/vms/web/start"))
    reply = await api("GET", "/v1/vms/web/logs?lines=1")
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.body == b"fake guest up\n"
    log = Path((await api("GET", "/v1/vms/web/access")).json["console_log"])
    following = Exchange(api.app, "GET", "/v1/vms/web/logs?follow=true")
    await following.until(b"up\n")
    log.write_text(log.read_text() + "more\n")
    await following.until(b"more\n")
    following.disconnect()
    await following.end()
    assert (await api("HEAD", "/v1/vms/web/logs?follow=true")).body == b""
    for bad in ("lines=-1", "lines=x", "follow=1", "tail=1"):
        assert (await api("GET", f"/v1/vms/web/logs?{bad}")).status == 400
    assert (await api("GET", "/v1/vms/nobody/logs")).status == 404


async def test_a_wrong_method_is_told_all_right_ones(api: API) -> None:
    reply = await api("PUT", "/v1/vms")
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD, POST"
    assert (await api("GET", "/v1/vms/web/start")).headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/vms/", "/v2/vms", "/v1", "/favicon.ico", "/v1/vms/a/b/c"])
async def test_an_unknown_path_is_a_problem(api: API, path: str) -> None:
    assert (await api("GET", path)).status == 404


@pytest.mark.parametrize(
    "header",
    [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Host", "evil.example"),
        ("Host", "127.0.0.1:8080"),
    ],
)
async def test_browsers_are_turned_away(api: API, header: Header) -> None:
    reply = await api("POST", "/v1/daemon/stop", {}, header)
    assert reply.status == 403
    assert reply.json["code"] == "permission_refused"


@pytest.mark.parametrize("host", ["", "banger", "localhost", "d", "localhost:80"])
async def test_plain_hosts_are_welcome(api: API, host: str) -> None:
    assert (await api("GET", "/", None, ("Host", host))).status == 200


async def test_bodies_are_held_to_type_and_size(api: API) -> None:
    typed = await api("POST", "/v1/vms", b"{}", ("content-type", "text/plain"))
    assert typed.status == 415
    huge = await api("POST", "/v1/vms", b"x" * (1024 * 1024 + 1))
    assert huge.status == 413
    assert (await api("POST", "/v1/vms", b"{")).status == 400
    assert (await api("POST", "/v1/vms")).status == 415
    assert (await api("POST", "/v1/vms", {"vcpus": 99})).status == 422


async def test_a_defect_is_logged_and_never_shown(
    api: API, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(api.services.vms, "list", broken)
    reply = await api("GET", "/v1/vms")
    assert reply.status == 500
    assert reply.json["code"] == "internal"
    assert "secret" not in reply.body.decode()
    assert "Traceback" not in reply.body.decode()
    assert "secret detail" in caplog.text


async def test_one_broken_vm_does_not_spoil_the_list(
    api: API, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(vm: object) -> Any:
        raise PermissionError("no")

    await api.with_vm()
    monkeypatch.setattr(api.services.vms, "describe", broken)
    (vm,) = (await api("GET", "/v1/vms")).json["vms"]
    assert vm["name"] == "web"
    assert vm["warnings"]


async def test_a_list_is_encoded_once_until_something_changes(
    api: API, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.with_vm()
    first = (await api("GET", "/v1/vms")).body
    calls = []
    real = api.services.vms.list

    def counted() -> Any:
        calls.append(1)
        return real()

    monkeypatch.setattr(api.services.vms, "list", counted)
    assert (await api("GET", "/v1/vms")).body == first
    assert not calls
    await api.ended(await api("PATCH", "/v1/vms/web", {"name": "shop"}))
    assert json.loads((await api("GET", "/v1/vms")).body)["vms"][0]["name"] == "shop"
    assert calls


async def test_stopping_is_answered_before_it_happens(api: API) -> None:
    stopping = asyncio.ensure_future(api.services.stopping())
    reply = await api("POST", "/v1/daemon/stop", {})
    assert reply.status == 202
    assert reply.json == {}
    await asyncio.wait_for(stopping, 1)


async def test_a_long_poll_ends_with_the_daemon(tmp_path: Path) -> None:
    async with running(tmp_path, "image.build.build.before=delay:30") as (_, assembly, app):
        begun = (await call(app, "POST", "/v1/images", {"packages": ["curl"]})).json
        waiting = Exchange(app, "GET", f"/v1/operations/{begun['id']}?wait=30")
        await asyncio.sleep(0.05)
        assert not waiting.complete.is_set()
        assembly.services.stop()
        assert (await waiting.end(timeout=1)).json["status"] == "running"
