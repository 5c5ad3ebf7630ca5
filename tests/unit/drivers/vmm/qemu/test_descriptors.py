"""What is opened for QEMU, and what is refused."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.qemu import descriptors
from banger.errors import BangerError, Conflict, HostNotReady, InvalidInput
from banger.model.storage import Drive

STRANGER = (65533, 65533)


@pytest.fixture
def spec(tmp_path: Path) -> BootSpec:
    for name in ("kernel", "initrd", "disk", "base"):
        (tmp_path / name).write_bytes(name.encode())
        (tmp_path / name).chmod(0o600)
    return BootSpec(
        vm_id="0123456789ab",
        process_name="banger-0-0123456789ab",
        vcpus=1,
        memory_mib=64,
        kernel=tmp_path / "kernel",
        initrd=tmp_path / "initrd",
        arguments=(),
        drives=(Drive("root", tmp_path / "disk", "qcow2", tmp_path / "base"),),
        network=NetworkDevice(mac="02:00:00:00:00:01"),
        console_log=tmp_path / "console.log",
        console_socket=tmp_path / "c.sock",
        monitor_socket=tmp_path / "m.sock",
        agent_socket=tmp_path / "a.sock",
        events=tmp_path / "events",
        log=tmp_path / "log",
    )


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def test_everything_is_open_inside_and_closed_outside(spec: BootSpec) -> None:
    spec.console_log.write_text("old\n")
    spec.log.write_text("old\n")
    before = open_descriptors()
    with descriptors.opened(spec, b"note\n") as got:
        for number in (*got.inherited(), got.commands, got.events, got.log):
            assert not os.get_inheritable(number)
        assert os.read(got.commands, 200).count(b"\n") == 2
        os.write(got.console_log, b"new\n")
        assert os.pread(got.drives[0].file, 9, 0) == b"disk"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(got.drives[0].backing or -1, b"x")
    assert open_descriptors() == before
    assert spec.console_log.read_text() == "old\nnew\n"
    assert spec.log.read_text() == ""
    assert spec.events.read_text() == "note\n"
    for path in (spec.events, spec.console_socket, spec.monitor_socket, spec.agent_socket):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("missing", ["kernel", "initrd", "disk", "base"])
def test_a_missing_file_leaves_nothing_open(spec: BootSpec, missing: str) -> None:
    (spec.kernel.parent / missing).unlink()
    before = open_descriptors()
    with pytest.raises(BangerError, match=missing), descriptors.opened(spec, b""):
        pass
    assert open_descriptors() == before
    assert not spec.monitor_socket.exists()


def test_a_link_in_place_of_a_log_is_refused(spec: BootSpec, tmp_path: Path) -> None:
    spec.log.symlink_to(tmp_path / "victim")
    with pytest.raises(BangerError, match="log"), descriptors.opened(spec, b""):
        pass
    assert not (tmp_path / "victim").exists()


def test_a_missing_tap_is_not_made_up(spec: BootSpec) -> None:
    network = structs.replace(spec.network, tap="bgrabsent")
    without = structs.replace(spec, network=network)
    with pytest.raises(HostNotReady, match="does not exist"), descriptors.opened(without, b""):
        pass
    assert not spec.monitor_socket.exists()


def test_a_secret_is_copied_for_a_stranger(spec: BootSpec) -> None:
    spec.kernel.chmod(0o644)
    with descriptors.opened(structs.replace(spec, run_as=STRANGER), b"") as got:
        assert got.initrd is not None
        assert Path(f"/proc/self/fd/{got.kernel}").readlink() == spec.kernel
        assert "memfd:" in str(Path(f"/proc/self/fd/{got.initrd}").readlink())
        assert os.fstat(got.initrd).st_mode & 0o004
        assert Path(f"/proc/self/fd/{got.initrd}").read_bytes() == b"initrd"


@pytest.mark.parametrize(
    ("mode", "user", "expected"),
    [
        (0o400, (7, 8), True),
        (0o044, (7, 8), False),
        (0o040, (1, 8), True),
        (0o404, (1, 8), False),
        (0o004, (1, 1), True),
        (0o440, (1, 1), False),
    ],
)
def test_who_may_read_a_file(mode: int, user: tuple[int, int], expected: bool) -> None:
    status = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, 7, 8, 0, 0, 0, 0))
    assert descriptors.may_read(status, user) is expected


def test_a_socket_that_answers_is_a_conflict(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with descriptors.listener(path), pytest.raises(Conflict, match="in use"):
        descriptors.listener(path)


def test_a_socket_with_a_full_queue_is_a_conflict(tmp_path: Path) -> None:
    path = tmp_path / "s"
    clients = []
    with descriptors.listener(path):
        for _ in range(50):
            client = socket.socket(socket.AF_UNIX)
            clients.append(client)
            client.setblocking(False)
            if client.connect_ex(str(path)) != 0:
                break
        with pytest.raises(Conflict):
            descriptors.listener(path)
    for client in clients:
        client.close()


def test_a_socket_of_the_dead_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    descriptors.listener(path).close()
    assert path.exists()
    with descriptors.listener(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_file_in_the_place_of_a_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(Conflict):
        descriptors.listener(path)
    assert path.read_text() == "precious"


def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="too long"):
        descriptors.listener(tmp_path / ("x" * 100))
