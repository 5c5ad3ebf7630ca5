"""Firecracker's own folder: what stands in it, who may use it, and that failures leave nothing."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.firecracker import workspace
from banger.errors import Conflict, HostNotReady, InvalidInput
from banger.model.storage import Drive
from tests.requirements import needs

NOBODY = (65534, 65534)


@pytest.fixture
def spec(tmp_path: Path) -> BootSpec:
    state, runtime = tmp_path / "state", tmp_path / "run"
    for folder in (state, runtime):
        folder.mkdir(mode=0o700)
    for name in ("kernel", "initrd", "disk"):
        (state / name).write_bytes(name.encode())
        (state / name).chmod(0o600)
    return BootSpec(
        vm_id="0123456789ab",
        process_name="banger-0-0123456789ab",
        vcpus=1,
        memory_mib=64,
        kernel=state / "kernel",
        initrd=state / "initrd",
        arguments=(),
        drives=(Drive("root", state / "disk", "raw"),),
        network=NetworkDevice(mac="02:00:00:00:00:01"),
        console_log=state / "console.log",
        console_socket=runtime / "console.sock",
        monitor_socket=runtime / "monitor.sock",
        agent_socket=runtime / "agent.sock",
        events=state / "events.jsonl",
        log=state / "vmm.log",
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def made(spec: BootSpec) -> workspace.Workspace:
    with workspace.made(spec, Path("/bin/true"), b"note\n") as place:
        for name, content in (
            ("kernel", b"kernel"),
            ("initrd", b"initrd"),
            ("drive_root", b"disk"),
        ):
            assert (place.folder / name).read_bytes() == content
        assert set(place.inherited) <= set(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 - numbers
        return place


def test_what_stands_in_it(spec: BootSpec) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - numbers
    place = made(spec)
    assert place.program == "/bin/true"
    assert names(place.folder) == {"kernel", "initrd", "drive_root", "log", "metrics", "stderr"}
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    assert spec.console_socket.is_fifo()
    assert spec.events.read_bytes() == b"note\n"
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208 - numbers


@needs("root")
def test_another_user_gets_no_more_than_it_needs(spec: BootSpec) -> None:
    place = made(structs.replace(spec, run_as=NOBODY))
    assert place.program.startswith("/proc/self/fd/")
    assert place.folder.stat().st_uid == NOBODY[0]
    modes = {
        path.name: (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode))
        for path in spec.kernel.parent.iterdir()
    }
    assert modes == {
        "kernel": (0, 0, 0o600),  # handed over as a copy in memory
        "initrd": (0, 65534, 0o640),
        "disk": (0, 65534, 0o660),
        "vmm.log": (0, 65534, 0o660),
        "events.metrics": (0, 65534, 0o660),
        "events.jsonl": (0, 0, 0o600),
        "console.log": (0, 0, 0o600),
    }


def test_a_failure_leaves_nothing(spec: BootSpec) -> None:
    absent = structs.replace(spec, initrd=Path("/nonexistent/initrd"))
    with pytest.raises(HostNotReady):
        made(absent)
    assert names(spec.monitor_socket.parent) == set()


def test_a_drive_is_locked_while_a_descriptor_of_it_lives(spec: BootSpec, tmp_path: Path) -> None:
    other = structs.replace(
        spec,
        monitor_socket=tmp_path / "other.sock",
        console_socket=tmp_path / "c",
        agent_socket=tmp_path / "a",
    )
    with workspace.made(spec, Path("/bin/true"), b""), pytest.raises(Conflict, match="in use"):
        made(other)
    made(other)


def test_readers_share_a_drive(spec: BootSpec, tmp_path: Path) -> None:
    spec = structs.replace(spec, drives=(dataclasses.replace(spec.drives[0], read_only=True),))
    other = structs.replace(
        spec,
        monitor_socket=tmp_path / "other.sock",
        console_socket=tmp_path / "c",
        agent_socket=tmp_path / "a",
    )
    with workspace.made(spec, Path("/bin/true"), b""):
        made(other)


def test_who_answers_is_not_pushed_aside(spec: BootSpec) -> None:
    workspace.refuse_running(spec)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(spec.monitor_socket))
        workspace.refuse_running(spec)  # nobody listens
        server.listen()
        with pytest.raises(Conflict):
            workspace.refuse_running(spec)
    workspace.refuse_running(spec)


def test_a_path_that_is_too_long_for_a_socket(spec: BootSpec) -> None:
    long = structs.replace(spec, monitor_socket=Path("/" + "x" * 120))
    with pytest.raises(InvalidInput, match="too long"):
        workspace.refuse_running(long)


def test_sockets_are_moved_out_and_closed_to_others(spec: BootSpec) -> None:
    place = made(spec)
    workspace.publish(spec)  # nothing is there yet
    for name in ("api.sock", "vsock.sock"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place.folder / name))
    workspace.publish(spec)
    for path in (spec.monitor_socket, spec.agent_socket):
        assert path.is_socket()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    workspace.remove(spec)
    workspace.remove(spec)
    assert names(spec.monitor_socket.parent) == set()
