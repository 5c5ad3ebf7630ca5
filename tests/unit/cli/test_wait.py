from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from banger.client import waiting
from tests.fakes.cli_home import CLIHome


@pytest.fixture
def greeter() -> Iterator[int]:
    """The port of an SSH server that has nothing but its greeting."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"SSH-2.0-fake\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_until_ssh_greets(banger: CLIHome, greeter: int) -> None:
    banger.fake.add_vm("web", state="running", ssh_host="127.0.0.1", ssh_port=greeter)
    result = banger("wait", "web")
    assert (result.status, result.stdout) == (0, "web\n")


def test_a_silent_port_is_no_answer(banger: CLIHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_GREETING_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        banger.fake.add_vm("web", state="running", ssh_host="127.0.0.1", ssh_port=port)
        result = banger("wait", "web", "--timeout", "0.3s")
    assert result.status == 7
    assert "did not answer by SSH" in result.stderr
    assert len(result.stderr.splitlines()) == 3


def test_until_the_agent_answers(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    assert banger("wait", "web", "--for", "agent", "-q").status == 0
    banger.fake.agent = False
    result = banger("wait", "web", "--for", "agent", "--timeout", "1s")
    assert result.status != 0
    assert "has no agent" in result.stderr
    assert "--for ssh" in result.stderr


def test_until_it_has_stopped(banger: CLIHome, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = banger.fake.add_vm("web", state="running")
    monkeypatch.setattr(
        "banger.client.waiting.time.sleep", lambda _seconds: vm.update(state="stopped")
    )
    assert banger("wait", "web", "--for", "stopped").stdout == "web\n"


def test_one_that_is_deleted_has_stopped(banger: CLIHome, monkeypatch: pytest.MonkeyPatch) -> None:
    banger.fake.add_vm("web", state="running")
    monkeypatch.setattr(
        "banger.client.waiting.time.sleep", lambda _seconds: banger.fake.vms.clear()
    )
    assert banger("wait", "web", "--for", "stopped").status == 0


def test_one_that_stopped_never_answers(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    result = banger("wait", "web")
    assert result.status == 5
    assert "banger start web" in result.stderr
    assert banger("wait", "nobody").status == 4
