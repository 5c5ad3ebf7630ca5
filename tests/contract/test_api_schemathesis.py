"""The API is what its description says: generated requests, good and bad, to the real services."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from starlette.types import Receive, Scope, Send

from banger.api import frames
from banger.api.endpoint import Endpoint
from banger.api.endpoints import ENDPOINTS
from banger.api.routes import (
    FRAMES,
    IMAGE_CUSTOMIZE,
    IMAGE_IMPORT,
    IMAGE_KEEP,
    IMAGE_REGISTER,
    VM_SET,
)
from banger.daemon.application import Application
from banger.daemon.ports import Services
from banger.service.requests import BuildRequest, CreateRequest
from tests.fakes.boot_files import own_files
from tests.fakes.house import House
from tests.fakes.services import assemble

#: Seconds after which the client of a stream hangs up.
PATIENCE = 0.02


class Served:
    """The application with a life of its own: begins and ends in the loop that serves it.

    Clients hang up ``PATIENCE`` seconds after their request, which ends endless streams.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lives = 0
        self._app: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert self._app is not None
        complete = False

        async def hang_up() -> Any:
            nonlocal complete
            if complete:
                await asyncio.sleep(PATIENCE)
                return {"type": "http.disconnect"}
            message = await receive()
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, hang_up, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._lives += 1
        assembly = assemble(House(self._root / str(self._lives)), asyncio.Event())
        await assembly.start()
        await furnish(assembly.services)
        self._app = Application(assembly.services)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await assembly.end()
        await send({"type": "lifespan.shutdown.complete"})


async def furnish(services: Services) -> None:
    """An image and a running VM ``web``, so that requests find something."""
    build = await services.images.build(BuildRequest(packages="curl"))
    await services.operations.wait(build.id)
    create = await services.vms.create(CreateRequest(name="web"))
    await services.operations.wait(create.id)
    start = await services.power.start("web", wait=True, timeout=5)
    await services.operations.wait(start.id)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = schemathesis.Config()
    # A bad body that is too large as well is refused for that, before it is read.
    rejection = config.projects.default.checks.negative_data_rejection
    rejection.expected_statuses = [*rejection.expected_statuses, "413"]
    served = Served(tmp_path_factory.mktemp("api"))
    return schemathesis.openapi.from_asgi("/openapi.json", served, config=config)


#: What of a valid request the host decides: free memory, files, drivers and what these can do.
HOST_FIELDS = (
    "memory_mib",
    "rootfs",
    "kernel",
    "initrd",
    "modules",
    "vmm",
    "jail",
    "storage",
    "network",
)


def is_open(endpoint: Endpoint) -> bool:
    """Whether there is anything in a request that could be wrong."""
    return bool(endpoint.body or endpoint.parameters or "{" in endpoint.path)


def make_possible(case: Any, files: CreateRequest) -> None:
    """Turn a request that is good by its form into one that this host can do."""
    if isinstance(case.body, dict):
        for field in HOST_FIELDS:
            case.body.pop(field, None)
        if case.path == IMAGE_REGISTER:
            case.body.update(rootfs=files.rootfs, kernel=files.kernel)
        if case.path == IMAGE_IMPORT:
            case.body["archive"] = files.initrd
        if case.path == IMAGE_KEEP:
            case.body["vm"] = "web"
        if case.path == IMAGE_CUSTOMIZE:
            make_another_image(case.body, files)
        if case.body.get("packages"):
            case.body["packages"].append("curl")
        if case.path == VM_SET:
            make_a_change(case.body)
    if "ref" in case.path_parameters:
        case.path_parameters["ref"] = "web" if "/vms/" in case.path else "debian"


def make_another_image(body: dict[str, Any], files: CreateRequest) -> None:
    """Let it begin with files that are there, and change something."""
    if body["base"].startswith("/"):
        body["base"] = files.rootfs
    body["name"] = body.get("name") or "another"


def make_a_change(body: dict[str, Any]) -> None:
    """Turn new values for ``web`` into some that change it: disks only grow."""
    if body.get("overlay_bytes"):
        least = CreateRequest(name="web").overlay_bytes
        body["overlay_bytes"] = max(least, body["overlay_bytes"])
    if all(value is None for value in body.values()):
        body["vcpus"] = 1


MODES = [
    pytest.param(endpoint, mode, id=f"{endpoint.id}-{mode.value}")
    for endpoint in ENDPOINTS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE or is_open(endpoint)
]


@schemathesis.serializer(FRAMES)
def as_frames(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """The text of a body, or a beginning that can be understood and then that text."""
    text = str(value).encode(errors="replace")
    start = frames.encode_control({"argv": ["true"]}) if len(text) % 2 else b""
    return start + text


@pytest.mark.parametrize(("endpoint", "mode"), MODES)
def test_every_answer_is_as_described(
    schema: Any, endpoint: Endpoint, mode: GenerationMode, tmp_path: Path
) -> None:
    operation, files = schema[endpoint.path][endpoint.method], own_files(tmp_path)
    # A schema cannot say what a stream of frames is.
    excluded = [schemathesis.checks.positive_data_acceptance] if endpoint.body is bytes else []

    @given(operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    def check(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            make_possible(case, files)
        case.call_and_validate(excluded_checks=excluded)

    check()
