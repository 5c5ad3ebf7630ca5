"""bangerd as a process: one per user, private, ended at any moment, and begun again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banger.paths import Paths
from tests.plugins.guards import home_environment
from tests.requirements import needs

#: Seconds; on an idle machine the daemon answers after 0.2 and ends within 0.3.
PATIENCE = 15.0
FAKE = ["tests.fakes.services"]
REAL = ["banger.daemon.main"]


class Bangerd:
    """The daemon over a home of its own; ``fake`` gives it a host made of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **home_environment(root),
        }
        Path(self.environment["XDG_RUNTIME_DIR"]).mkdir(mode=0o700)
        self.paths = Paths.from_environment(self.environment, os.geteuid())
        self.processes: list[subprocess.Popen[bytes]] = []

    def spawn(
        self, module: list[str] = FAKE, *, umask: int = -1, **variables: str
    ) -> subprocess.Popen[bytes]:
        arguments = [str(self.root / "house")] if module is FAKE else []
        process = subprocess.Popen(
            [sys.executable, "-m", *module, *arguments],
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=umask,
        )
        self.processes.append(process)
        return process

    def start(
        self, module: list[str] = FAKE, *, umask: int = -1, **variables: str
    ) -> subprocess.Popen[bytes]:
        process = self.spawn(module, umask=umask, **variables)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.get("/")[0] == 200:
                    return process
            assert process.poll() is None, self.output(process)
            time.sleep(0.005)
        raise AssertionError("bangerd does not answer")

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        try:
            client.connect(str(self.paths.socket))
        except OSError:
            client.close()
            raise
        return client

    def request(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: banger\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        with self.connect() as client:
            client.sendall(head.encode() + data)
            reply = b""
            while piece := client.recv(65536):
                reply += piece
        head_text, _, content = reply.partition(b"\r\n\r\n")
        return int(head_text.split()[1]), json.loads(content)

    def get(self, target: str) -> tuple[int, Any]:
        return self.request("GET", target)

    def operate(self, method: str, target: str, body: object = None) -> Any:
        status, operation = self.request(method, target, body)
        assert status == 202, operation
        ended = self.get(f"/v1/operations/{operation['id']}?wait=10")[1]
        assert ended["status"] == "succeeded", ended
        return ended

    def stop(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> float:
        """End it and return how long that took."""
        began = time.monotonic()
        process.send_signal(number)
        process.wait(PATIENCE)
        return time.monotonic() - began

    @staticmethod
    def output(process: subprocess.Popen[bytes]) -> str:
        """What it has printed; once."""
        assert process.stdout is not None
        if process.stdout.closed:
            return ""
        with process.stdout as stream:
            return stream.read().decode()

    def clear(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(PATIENCE)
            self.output(process)


@pytest.fixture
def bangerd() -> Iterator[Bangerd]:
    with tempfile.TemporaryDirectory(prefix="bgr-") as folder:
        made = Bangerd(Path(folder))
        try:
            yield made
        finally:
            made.clear()


def modes_below(folder: Path) -> set[tuple[str, int]]:
    return {
        ("folder" if path.is_dir() else "file", stat.S_IMODE(path.lstat().st_mode))
        for path in folder.rglob("*")
    }


def test_all_it_makes_is_private_whatever_the_umask(bangerd: Bangerd) -> None:
    process = bangerd.start(REAL, umask=0)
    assert stat.S_IMODE(bangerd.paths.runtime.stat().st_mode) == 0o700
    assert stat.S_IMODE(bangerd.paths.socket.stat().st_mode) == 0o600
    assert modes_below(bangerd.paths.runtime) <= {("file", 0o600), ("folder", 0o700)}
    assert modes_below(bangerd.paths.state) <= {("file", 0o600), ("folder", 0o700)}
    assert bangerd.stop(process) < 3
    assert process.returncode == 0


def test_a_real_daemon_starts_small_and_answers_with_facts(bangerd: Bangerd) -> None:
    process = bangerd.start(REAL)
    status, facts = bangerd.get("/v1/daemon")
    assert status == 200
    assert facts["pid"] == process.pid
    assert facts["socket"] == str(bangerd.paths.socket)
    assert facts["drivers"]["storage"]["reason"]
    memory = Path(f"/proc/{process.pid}/status").read_text()
    resident = int(memory.partition("VmRSS:")[2].split()[0])
    assert resident < 60 * 1024
    assert "Traceback" not in bangerd.paths.daemon_log.read_text()


def test_a_second_daemon_leaves_the_first_alone(bangerd: Bangerd) -> None:
    first = bangerd.start()
    second = bangerd.spawn()
    assert second.wait(PATIENCE) == 0
    assert bangerd.output(second) == ""
    assert first.poll() is None
    assert bangerd.get("/v1/vms") == (200, {"vms": []})


def test_many_at_once_leave_one(bangerd: Bangerd) -> None:
    processes = [bangerd.spawn() for _ in range(6)]
    deadline = time.monotonic() + PATIENCE
    while sum(process.poll() is None for process in processes) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert all(process.poll() in {None, 0} for process in processes)
    while not bangerd.paths.socket.exists():
        time.sleep(0.02)
    assert bangerd.get("/")[0] == 200


def test_the_same_state_through_another_runtime_folder_is_refused(bangerd: Bangerd) -> None:
    bangerd.start()
    other = bangerd.root / "other"
    other.mkdir(mode=0o700)
    second = bangerd.spawn(XDG_RUNTIME_DIR=str(other))
    assert second.wait(PATIENCE) == 5
    said = bangerd.output(second)
    assert said.startswith("error: another bangerd works on ")
    assert "XDG_RUNTIME_DIR" in said


def test_a_kill_at_any_time_is_a_stop(bangerd: Bangerd) -> None:
    process = bangerd.start()
    bangerd.operate("POST", "/v1/images", {"packages": ["curl"]})
    bangerd.operate("POST", "/v1/vms", {"name": "web"})
    bangerd.operate("POST", "/v1/vms/web/start")
    before = bangerd.get("/v1/vms/web")[1]
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
        bangerd.stop(process, number)
        # A killed daemon leaves its socket, on which nobody listens; an ended one does not.
        assert bangerd.paths.socket.exists() == (number == signal.SIGKILL)
        process = bangerd.start()
        after = bangerd.get("/v1/vms/web")[1]
        for field in ("state", "pid", "address", "mac", "started_at"):
            assert after[field] == before[field]
    assert [
        path.name for path in bangerd.paths.runtime.iterdir() if path.name.startswith("sock")
    ] == []


def test_a_kill_within_an_operation_is_undone(bangerd: Bangerd) -> None:
    process = bangerd.start(BANGER_FAILPOINTS="image.build.build.after=kill")
    status, operation = bangerd.request("POST", "/v1/images", {"packages": ["curl"]})
    assert status == 202
    assert process.wait(PATIENCE) == -signal.SIGKILL
    bangerd.start()
    ended = bangerd.get(f"/v1/operations/{operation['id']}?wait=10")[1]
    assert ended["status"] == "cancelled"
    assert ended["error"]["cause"]
    assert bangerd.get("/v1/images")[1] == {"images": []}
    assert not list((bangerd.root / "house/state/images").iterdir())


def test_it_ends_quickly_with_streams_open(bangerd: Bangerd) -> None:
    process = bangerd.start()
    streams = []
    for _ in range(5):
        client = bangerd.connect()
        client.sendall(b"GET /v1/events HTTP/1.1\r\nHost: banger\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        streams.append(client)
    assert bangerd.stop(process) < 2
    for client in streams:
        while client.recv(1000):
            pass
        client.close()
    assert not bangerd.paths.socket.exists()


def test_it_ends_when_asked_over_the_api(bangerd: Bangerd) -> None:
    process = bangerd.start()
    assert bangerd.request("POST", "/v1/daemon/stop", {}) == (202, {})
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in bangerd.paths.daemon_log.read_text()


@pytest.mark.parametrize("kind", ["file", "link", "socket"])
def test_whatever_stands_in_the_sockets_place_is_replaced(bangerd: Bangerd, kind: str) -> None:
    bangerd.paths.runtime.mkdir(mode=0o700)
    victim = bangerd.root / "victim"
    victim.write_text("precious")
    if kind == "file":
        bangerd.paths.socket.write_text("x")
    elif kind == "link":
        bangerd.paths.socket.symlink_to(victim)
    else:
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(bangerd.paths.socket))
        stale.close()
    bangerd.start()
    assert stat.S_ISSOCK(bangerd.paths.socket.lstat().st_mode)
    assert victim.read_text() == "precious"


def test_a_runtime_folder_of_somebody_else_is_refused(bangerd: Bangerd) -> None:
    bangerd.paths.runtime.symlink_to(bangerd.root)
    process = bangerd.spawn()
    assert process.wait(PATIENCE) == 6
    assert "cannot be trusted" in bangerd.output(process)


def test_a_socket_path_that_is_too_long_is_named(bangerd: Bangerd) -> None:
    process = bangerd.spawn(XDG_RUNTIME_DIR=str(bangerd.root / ("x" * 100)))
    assert process.wait(PATIENCE) == 2
    assert "too long" in bangerd.output(process)


def test_bad_settings_are_named(bangerd: Bangerd) -> None:
    process = bangerd.spawn(REAL, BANGER_VMM="vmware")
    assert process.wait(PATIENCE) == 2
    said = bangerd.output(process)
    assert "BANGER_VMM" in said
    assert "Traceback" not in said


def test_a_damaged_database_is_moved_aside(bangerd: Bangerd) -> None:
    bangerd.paths.state.mkdir(mode=0o700, parents=True)
    bangerd.paths.database.write_bytes(b"this is no database" * 100)
    bangerd.start(REAL)
    assert bangerd.get("/v1/vms") == (200, {"vms": []})
    assert list(bangerd.paths.state.glob("banger.db.corrupt-*"))


@needs("root")
def test_another_user_gets_no_byte(bangerd: Bangerd) -> None:
    bangerd.start()
    bangerd.root.chmod(0o755)
    bangerd.paths.runtime.parent.chmod(0o755)
    bangerd.paths.runtime.chmod(0o755)
    bangerd.paths.socket.chmod(0o666)
    ask = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "try:\n s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); print(s.recv(100))\n"
        "except OSError as error: print(type(error).__name__)\n"
    )
    said = subprocess.run(
        ["/usr/bin/python3", "-c", ask, str(bangerd.paths.socket)],
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    ).stdout.decode()
    assert said.strip() in {"b''", "ConnectionResetError", "BrokenPipeError"}
    assert bangerd.get("/")[0] == 200
