"""Firecracker's API as the driver takes it to be: tried on the real program and on the fake."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.firecracker import bodies, client
from banger.drivers.vmm.firecracker.bodies import Request
from banger.drivers.vmm.firecracker.client import ApiGone, ApiRefused
from banger.drivers.vmm.firecracker.version import parse_version
from banger.errors import DeadlineExceeded
from banger.host.tiny_guest import tiny_guest
from banger.model.storage import Drive
from tests.fakes.firecracker_api import FakeApi
from tests.firecracker_program import firecracker_program
from tests.requirements import needs

PATIENCE = 20.0
CONFIG: dict[str, object] = {"vcpu_count": 1, "mem_size_mib": 64}
DRIVE: dict[str, object] = {"drive_id": "d", "path_on_host": "disk", "is_root_device": False}
INTERFACE: dict[str, object] = {"iface_id": "eth0", "host_dev_name": "bgrnone"}


class Raw(Request, frozen=True):
    """A request with any body at all."""

    raw: dict[str, object] | None = None

    def document(self) -> dict[str, object] | None:
        return self.raw


class Api:
    """One API that was not told anything yet, in a folder of its own with a kernel and a disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "api.sock"

    async def call(self, request: Request) -> dict[str, object]:
        return await client.call(self.socket, request, timeout=PATIENCE)

    async def put(self, path: str, **body: object) -> dict[str, object]:
        return await self.call(Raw("PUT", path, raw=body))

    async def refused(self, request: Request) -> ApiRefused:
        with pytest.raises(ApiRefused) as caught:
            await self.call(request)
        assert caught.value.fault_message
        return caught.value

    async def refused_put(self, path: str, **body: object) -> str:
        error = await self.refused(Raw("PUT", path, raw=body))
        assert error.status == 400
        return error.fault_message

    async def send(self, data: bytes) -> bytes:
        """What comes back for any bytes, until the connection closes or falls silent."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(data)
        await writer.drain()
        reply = b""
        while True:
            try:
                piece = await asyncio.wait_for(reader.read(65536), 0.3)
            except TimeoutError:
                break
            if not piece:
                break
            reply += piece
        writer.close()
        return reply

    def spec(self, *drives: Drive, arguments: tuple[str, ...] = ()) -> BootSpec:
        return BootSpec(
            vm_id="0123456789ab",
            process_name="banger-0-0123456789ab",
            vcpus=1,
            memory_mib=64,
            kernel=self.folder / "kernel",
            initrd=self.folder / "initrd",
            arguments=arguments,
            drives=drives,
            network=NetworkDevice(mac="02:00:00:00:00:01"),
            console_log=self.folder / "console.log",
            console_socket=self.folder / "console.sock",
            monitor_socket=self.socket,
            agent_socket=self.folder / "agent.sock",
            events=self.folder / "events",
            log=self.folder / "log",
        )

    async def state(self) -> object:
        return (await self.call(bodies.GET_INFO))["state"]

    async def boot(self) -> None:
        """Configure a tiny guest in the driver's own order, and let it run."""
        requests = bodies.requests(self.spec(), parse_version("1.12.1"))
        await client.calls(self.socket, requests, timeout=PATIENCE)
        await self.call(bodies.START)


def started(argv: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "console.log").open("wb") as console:
        return subprocess.Popen(
            argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )


@pytest.fixture(
    params=["fake", pytest.param("real", marks=needs("firecracker", "bare-kvm"))],
)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    made = Api(tmp_path)
    (tmp_path / "kernel").write_bytes(tiny_guest(b"up\n"))
    for name, size in (("initrd", 4096), ("disk", 1 << 20), ("metrics", 0), ("log", 0)):
        (tmp_path / name).write_bytes(bytes(size))
    if request.param == "fake":
        async with FakeApi(tmp_path).serving(made.socket):
            yield made
        return
    program = str(firecracker_program().path)
    argv = [program, "--id", "banger-0-0123456789ab", "--api-sock", "api.sock"]
    process = started([*argv, "--log-path", "log"], tmp_path)
    try:
        while True:
            try:
                await made.call(bodies.GET_VERSION)
            except ApiGone:
                assert process.poll() is None, (tmp_path / "console.log").read_text()
                await asyncio.sleep(0.005)
            else:
                break
        yield made
    finally:
        process.kill()
        process.wait()


# What the driver does


async def test_it_tells_its_version_and_state(api: Api) -> None:
    assert parse_version(str((await api.call(bodies.GET_VERSION))["firecracker_version"]))
    info = await api.call(bodies.GET_INFO)
    assert info["id"] == "banger-0-0123456789ab"
    assert info["state"] == "Not started"
    assert info["app_name"] == "Firecracker"


async def test_the_drivers_requests_are_accepted_and_the_guest_runs(api: Api) -> None:
    drives = (
        Drive("root", api.folder / "disk", "raw"),
        Drive("work", api.folder / "disk", "raw", read_only=True),
    )
    for drive in drives:
        (api.folder / bodies.drive_name(drive.id)).symlink_to("disk")
    for request in bodies.requests(api.spec(*drives), parse_version("1.12.1")):
        assert await api.call(request) == {}
    assert (api.folder / bodies.VSOCK).is_socket()
    assert await api.call(bodies.START) == {}
    assert await api.state() == "Running"


async def test_pause_and_resume_are_repeatable(api: Api) -> None:
    await api.boot()
    for request, state in ((bodies.PAUSE, "Paused"), (bodies.RESUME, "Running")):
        for _ in range(2):
            await api.call(request)
            assert await api.state() == state


async def test_metrics_are_written_when_asked_for(api: Api) -> None:
    await api.boot()
    await api.call(bodies.FLUSH_METRICS)
    lines = (api.folder / "metrics").read_text().splitlines()
    assert lines
    await api.call(bodies.FLUSH_METRICS)
    assert len((api.folder / "metrics").read_text().splitlines()) > len(lines)
    assert "vcpu" in json.loads(lines[-1])


async def test_ctrl_alt_del_is_accepted_whatever_the_guest_does(api: Api) -> None:
    await api.boot()
    await api.call(bodies.CTRL_ALT_DEL)


async def test_the_logger_can_be_set(api: Api) -> None:
    await api.call(Request("PUT", "/logger", bodies.Logger("warning", "log")))
    assert "Level" in await api.refused_put("/logger", level="loud")


async def test_requests_in_a_row_are_answered_in_order(api: Api) -> None:
    row = (bodies.GET_INFO, Raw("PUT", "/machine-config", raw=CONFIG), bodies.GET_VERSION)
    for _ in range(20):
        info, nothing, version = await client.calls(api.socket, row, timeout=PATIENCE)
        assert info["state"] == "Not started"
        assert nothing == {}
        assert "firecracker_version" in version


async def test_the_first_refusal_in_a_row_is_told_and_the_rest_is_done(api: Api) -> None:
    row = (
        Raw("PUT", "/machine-config", raw={**CONFIG, "vcpu_count": 0}),
        Raw("PUT", "/machine-config", raw={**CONFIG, "vcpu_count": 2}),
        Raw("PUT", "/boot-source", raw={"kernel_image_path": "absent"}),
    )
    with pytest.raises(ApiRefused, match="machine-config") as caught:
        await client.calls(api.socket, row, timeout=PATIENCE)
    assert "vCPU" in caught.value.fault_message
    assert (await api.call(Raw("GET", "/machine-config")))["vcpu_count"] == 2


# The phases


@pytest.mark.parametrize(
    "request_",
    [bodies.PAUSE, bodies.CTRL_ALT_DEL, Raw("PATCH", "/drives/d", raw={"drive_id": "d"})],
    ids=["pause", "ctrl-alt-del", "drive"],
)
async def test_what_needs_a_running_guest_is_refused_before(api: Api, request_: Request) -> None:
    error = await api.refused(request_)
    assert "not supported before starting the microVM" in error.fault_message


async def test_what_makes_a_machine_is_refused_after_the_start(api: Api) -> None:
    await api.boot()
    for path, body in (
        ("/machine-config", CONFIG),
        ("/boot-source", {"kernel_image_path": "kernel"}),
        ("/drives/d", DRIVE),
        ("/vsock", {"guest_cid": 3, "uds_path": "second.sock"}),
        ("/entropy", {}),
        ("/metrics", {"metrics_path": "log"}),
        ("/actions", {"action_type": "InstanceStart"}),
    ):
        message = await api.refused_put(path, **body)
        assert "not supported after starting the microVM" in message, path


async def test_there_is_no_start_without_a_kernel(api: Api) -> None:
    error = await api.refused(bodies.START)
    assert "without kernel configuration" in error.fault_message
    assert await api.state() == "Not started"


# Values that are refused


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vcpu_count": 0}, "vCPU"),
        ({"vcpu_count": 33}, "vCPU"),
        ({"vcpu_count": 300}, "u8"),
        ({"vcpu_count": 3, "smt": True}, "vCPU"),
        ({"mem_size_mib": 0}, "memory"),
        ({"mem_size_mib": "64"}, "invalid type"),
        ({"mem_size_mib": -1}, "invalid value"),
        ({"huge_pages": "2m"}, "unknown variant"),
        ({"colour": "red"}, "unknown field"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
async def test_machine_values(api: Api, change: dict[str, object], says: str) -> None:
    assert says in await api.refused_put("/machine-config", **{**CONFIG, **change})
    await api.put("/machine-config", **CONFIG)


async def test_machine_values_at_the_limit(api: Api) -> None:
    await api.put("/machine-config", vcpu_count=32, mem_size_mib=1 << 20)
    found = await api.call(Raw("GET", "/machine-config"))
    assert found["vcpu_count"] == 32
    assert found["mem_size_mib"] == 1 << 20
    assert found["smt"] is False


async def test_a_missing_field_is_named(api: Api) -> None:
    assert "missing field `mem_size_mib`" in await api.refused_put("/machine-config", vcpu_count=1)
    assert "missing field `kernel_image_path`" in await api.refused_put("/boot-source")


async def test_files_must_be_there(api: Api) -> None:
    message = await api.refused_put("/boot-source", kernel_image_path="absent")
    assert "No such file" in message
    kernel = {"kernel_image_path": "kernel", "initrd_path": "absent"}
    assert "No such file" in await api.refused_put("/boot-source", **kernel)
    message = await api.refused_put("/drives/d", **{**DRIVE, "path_on_host": "absent"})
    assert "No such file" in message


async def test_drive_ids(api: Api) -> None:
    for bad in ("a-b", "a.b"):
        message = await api.refused_put(f"/drives/{bad}", **{**DRIVE, "drive_id": bad})
        assert "id" in message.lower()
    assert "match" in await api.refused_put("/drives/other", **DRIVE)
    await api.put("/drives/d", **DRIVE)
    await api.put("/drives/d", **DRIVE)


async def test_one_root_drive_only(api: Api) -> None:
    await api.put("/drives/d", **{**DRIVE, "is_root_device": True})
    second = {**DRIVE, "drive_id": "e", "is_root_device": True}
    assert "root" in await api.refused_put("/drives/e", **second)


async def test_an_interface_needs_a_tap_of_a_legal_name(api: Api) -> None:
    long = {**INTERFACE, "host_dev_name": "x" * 16}
    assert "Invalid interface name" in await api.refused_put("/network-interfaces/eth0", **long)
    bad = {**INTERFACE, "guest_mac": "02:00:00"}
    assert "MAC" in await api.refused_put("/network-interfaces/eth0", **bad)


async def test_a_stale_vsock_is_in_the_way(api: Api) -> None:
    (api.folder / "vsock.sock").touch()
    message = await api.refused_put("/vsock", guest_cid=3, uds_path="vsock.sock")
    assert "Address" in message
    assert "in use" in message


async def test_metrics_are_set_once(api: Api) -> None:
    await api.put("/metrics", metrics_path="metrics")
    assert "not allowed" in await api.refused_put("/metrics", metrics_path="metrics")


async def test_an_unknown_action_or_state(api: Api) -> None:
    assert "unknown variant" in await api.refused_put("/actions", action_type="instancestart")
    error = await api.refused(Raw("PATCH", "/vm", raw={"state": "Running"}))
    assert "unknown variant" in error.fault_message


# What only the start finds out


async def test_a_text_file_is_no_kernel(api: Api) -> None:
    (api.folder / "kernel").write_bytes(b"just some words\n" * 1000)
    with pytest.raises(ApiRefused) as caught:
        await api.boot()
    assert "Elf magic" in caught.value.fault_message
    assert await api.state() == "Not started"


async def test_a_command_line_has_a_limit(api: Api) -> None:
    message = await api.refused_put(
        "/boot-source", kernel_image_path="kernel", boot_args="x" * 2048
    )
    assert "command line" in message
    # Alone it fits, but not with what is added for a device.
    await api.put("/boot-source", kernel_image_path="kernel", boot_args="x" * 2040)
    await api.put("/drives/d", **DRIVE)
    assert "command line" in (await api.refused(bodies.START)).fault_message


async def test_the_devices_that_are_allowed_start_and_one_more_does_not(api: Api) -> None:
    version = parse_version(str((await api.call(bodies.GET_VERSION))["firecracker_version"]))
    await api.put("/boot-source", kernel_image_path="kernel")
    for number in range(version.max_devices + 1):
        await api.put(f"/drives/d{number}", **{**DRIVE, "drive_id": f"d{number}"})
    error = await api.refused(bodies.START)
    assert "not available" in error.fault_message


async def test_as_many_devices_as_the_driver_allows_start(api: Api) -> None:
    version = parse_version(str((await api.call(bodies.GET_VERSION))["firecracker_version"]))
    drives = [Drive(f"d{n}", api.folder / "disk", "raw") for n in range(version.max_devices - 2)]
    for drive in drives:
        (api.folder / bodies.drive_name(drive.id)).symlink_to("disk")
    for request in bodies.requests(api.spec(*drives), version):
        await api.call(request)
    await api.call(bodies.START)


async def test_the_longest_line_that_the_driver_allows_starts(api: Api) -> None:
    # Two devices are always there: vsock and entropy.
    room = 2047 - 2 * 40 - len(" ".join(bodies.KERNEL_ARGUMENTS)) - 1
    spec = api.spec(arguments=("x" * room,))
    for request in bodies.requests(spec, parse_version("1.12.1")):
        await api.call(request)
    await api.call(bodies.START)


# HTTP


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_other_methods_are_refused_in_another_shape(api: Api, method: str) -> None:
    reply = await api.send(f"{method} / HTTP/1.1\r\n\r\n".encode())
    head, _, body = reply.partition(b"\r\n\r\n")
    assert client.parse_head(head)[0] == 400
    assert b"\n" in body
    fault = client.fault_of(client.parse_body(body), body)
    assert fault.startswith("Invalid HTTP Method")
    assert "error" in client.parse_body(body)


async def test_unknown_paths_and_queries_are_refused(api: Api) -> None:
    for path in ("/colour", "/version?all=1"):
        assert (await api.refused(Raw("GET", path))).status == 400


async def test_an_oversized_body_is_refused(api: Api) -> None:
    reply = await api.send(b"PUT /entropy HTTP/1.1\r\nContent-Length: 60000\r\n\r\n")
    assert client.parse_head(reply.partition(b"\r\n\r\n")[0])[0] in (400, 413)


async def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    reply = await api.send(b"PUT /entropy HTTP/1.1\r\nContent-Length: 3\r\n\r\n{x}")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert client.parse_head(head)[0] == 400
    assert "fault_message" in client.parse_body(body)


async def test_ten_clients_are_served_and_the_eleventh_is_turned_away(api: Api) -> None:
    writers = []
    for _ in range(10):
        reader, writer = await asyncio.open_unix_connection(api.socket)
        writer.write(client.render(bodies.GET_VERSION))
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        writers.append(writer)
    with pytest.raises((ApiGone, ApiRefused)):
        await api.call(bodies.GET_VERSION)
    for writer in writers:
        writer.close()
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await api.call(bodies.GET_VERSION)
                break
            except (ApiGone, ApiRefused):
                await asyncio.sleep(0.01)


# The client


async def test_calls_that_are_given_up_do_no_harm(api: Api) -> None:
    await api.boot()
    chance = random.Random(1)
    for _ in range(150):
        calling = asyncio.create_task(api.call(bodies.GET_INFO))
        await asyncio.sleep(chance.random() / 1000)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
    async with asyncio.timeout(PATIENCE):
        while client._abandoned:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert await api.state() == "Running"


async def test_a_deadline_is_kept_and_the_reply_still_read(api: Api) -> None:
    with pytest.raises(DeadlineExceeded):
        await client.call(api.socket, bodies.GET_VERSION, timeout=0)
    async with asyncio.timeout(PATIENCE):
        while client._abandoned:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert await api.state() == "Not started"


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ApiGone):
        await client.call(tmp_path / "absent", bodies.GET_VERSION, timeout=1)


async def test_the_spec_is_what_is_sent(api: Api) -> None:
    spec = structs.replace(api.spec(arguments=("root=/dev/vda",)), vcpus=2, initrd=None)
    for request in bodies.requests(spec, parse_version("1.12.1")):
        await api.call(request)
    found = await api.call(Raw("GET", "/machine-config"))
    assert (found["vcpu_count"], found["mem_size_mib"]) == (2, 64)
