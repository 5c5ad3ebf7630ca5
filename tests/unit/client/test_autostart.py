from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from banger.build import build_id
from banger.client import autostart
from banger.errors import DaemonUnreachable, InvalidInput
from banger.paths import Paths
from tests.fakes.cli_home import CLIHome
from tests.fakes.daemon_server import Server

#: A program in the place of bangerd: the fake daemon in a process of its own.
DAEMON = """
import os, sys
from pathlib import Path
from tests.fakes.daemon import FakeDaemon
from tests.fakes.daemon_server import Server
fake = FakeDaemon(Path(os.environ["SOCKET"]))
try:
    Server(fake)
except OSError:
    sys.exit(0)
fake.stopped.wait()
while fake.socket_path.exists():
    pass
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture
def paths(banger: CLIHome) -> Paths:
    return Paths.from_environment(banger.environment, os.getuid())


@pytest.fixture
def launches(banger: CLIHome, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes ``autostart`` start the program above; holds the pids."""
    started: list[int] = []

    def launch(_: Paths) -> int:
        environment = os.environ | {"SOCKET": str(paths.socket), "PYTHONPATH": f"{ROOT}"}
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", DAEMON], environment)
        started.append(pid)
        return pid

    monkeypatch.setattr(autostart, "_launch", launch)
    return started


def test_a_running_daemon_is_used(banger: CLIHome, paths: Paths, launches: list[int]) -> None:
    assert autostart.connect(paths).vms() == []
    assert not launches


def test_a_silent_one_is_started(banger: CLIHome, paths: Paths, launches: list[int]) -> None:
    banger.server.end()
    client = autostart.connect(paths)
    assert client.about()["build"] == build_id()
    assert len(launches) == 1
    assert autostart.stop(client)
    os.waitpid(launches[0], 0)
    assert not autostart.stop(client)


def test_several_clients_at_once(banger: CLIHome, paths: Paths, launches: list[int]) -> None:
    banger.server.end()
    problems: list[BaseException] = []

    def connect() -> None:
        try:
            autostart.connect(paths).vms()
        except BaseException as error:  # noqa: BLE001 - told to the test
            problems.append(error)

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert autostart.connect_running(paths).vms() == []
    for pid in launches:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def test_a_stale_one_is_replaced(banger: CLIHome, paths: Paths, launches: list[int]) -> None:
    banger.fake.build = "0.0.1-deadbeef"
    client = autostart.connect(paths)
    assert banger.fake.stopped.is_set()
    assert client.about()["build"] == build_id()
    autostart.stop(client)
    os.waitpid(launches[0], 0)


def test_a_busy_one_is_left_alone(banger: CLIHome, paths: Paths, launches: list[int]) -> None:
    banger.fake.build = "0.0.1-deadbeef"
    banger.fake.endless.add("vm.start")
    banger.fake.operate("vm.start", banger.fake.add_vm("web"), lambda: None)
    assert len(autostart.connect(paths).vms()) == 1
    assert not launches


def test_a_daemon_that_fails_shows_its_log(
    banger: CLIHome, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    banger.server.end()
    paths.daemon_log.parent.mkdir(parents=True)
    paths.daemon_log.write_text("old line\n")

    def launch(_: Paths) -> int:
        script = f"echo 'no room left' >> {paths.daemon_log}; exit 1"
        return os.posix_spawn("/bin/sh", ["sh", "-c", script], {})

    monkeypatch.setattr(autostart, "_launch", launch)
    with pytest.raises(DaemonUnreachable) as caught:
        autostart.connect(paths)
    assert caught.value.cause == "it ended with status 1"
    assert caught.value.details == "no room left"


def test_a_daemon_that_never_answers(
    banger: CLIHome, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    banger.server.end()
    monkeypatch.setattr(autostart, "START_DEADLINE", 0.3)
    pids: list[int] = []

    def launch(_: Paths) -> int:
        pids.append(os.posix_spawn("/bin/sleep", ["sleep", "5"], {}))
        return pids[-1]

    monkeypatch.setattr(autostart, "_launch", launch)
    with pytest.raises(DaemonUnreachable, match="could not be started"):
        autostart.connect(paths)
    assert len(pids) == 1
    os.kill(pids[0], 9)
    os.waitpid(pids[0], 0)


def test_the_lock_of_a_daemon_about_to_end(
    banger: CLIHome, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that finds the lock taken exits with 0; then another one is started."""
    banger.server.end()
    launched: list[int] = []

    def launch(_: Paths) -> int:
        if len(launched) == 1:
            banger.server = Server(banger.fake)
        launched.append(os.posix_spawn("/bin/true", ["true"], {}))
        return launched[-1]

    monkeypatch.setattr(autostart, "_launch", launch)
    autostart.connect(paths)
    assert len(launched) == 2


def test_a_state_folder_that_cannot_be_made(banger: CLIHome, tmp_path: Path) -> None:
    banger.server.end()
    (tmp_path / "file").touch()
    environment = banger.environment | {"XDG_STATE_HOME": str(tmp_path / "file")}
    with pytest.raises(InvalidInput, match="cannot be used"):
        autostart.start(Paths.from_environment(environment, os.getuid()))


def test_the_real_command_line(
    paths: Paths, banger: CLIHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    from banger.host import spawn

    calls: list[object] = []

    def spawn_detached(argv: list[str], **options: object) -> int:
        calls.append((argv, options["cwd"]))
        return 7

    monkeypatch.setattr(spawn, "spawn_detached", spawn_detached)
    paths.daemon_log.parent.mkdir(parents=True)
    assert autostart._launch(paths) == 7
    assert calls == [([sys.executable, "-P", "-m", "banger.daemon.main"], Path("/"))]
    assert paths.daemon_log.stat().st_mode & 0o777 == 0o600
