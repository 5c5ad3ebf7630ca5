"""The agent, the very files that guests get, run as a process and spoken to byte by byte."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from banger.drivers.guest.agent_dial import AGENT_VSOCK_PORT
from banger.drivers.guest.agent_protocol import FILLER
from tests.fakes.agent_port import RawAgent, start_agent, wait_until

WINDOW = 256 * 1024
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


@pytest.fixture
def agent() -> Iterator[RawAgent]:
    # As by nohup, or by a shell in the background: what ignores signals and starts the agent.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
    try:
        made = RawAgent()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    made.hello()
    yield made
    made.close()
    assert made.process.returncode == 0


def run(agent: RawAgent, *argv: str, ident: int = 1, **fields: object) -> None:
    agent.send({"type": "exec", "id": ident, "argv": list(argv), "env": {}, "cwd": "/", **fields})


def finish(agent: RawAgent, ident: int = 1) -> tuple[int, bytes, bytes]:
    """Collect one command to its end: status and both streams, whatever their order."""
    output = {"stdout": b"", "stderr": b""}
    open_ends, status = {"stdout", "stderr"}, None
    while open_ends or status is None:
        message, payload = agent.receive()
        if message["type"] == "data":
            output[message["channel"]] += payload
            if not payload:
                open_ends.remove(message["channel"])
        elif message["type"] == "exit":
            status = message["status"]
        assert message["id"] == ident
    return status, output["stdout"], output["stderr"]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_nothing_is_answered_before_hello() -> None:
    agent = RawAgent()
    agent.send({"type": "ping", "id": 1})
    agent.hello("late")
    agent.send({"type": "ping", "id": 2})
    assert agent.receive()[0]["id"] == 2
    agent.close()


def test_ping_tells_facts(agent: RawAgent) -> None:
    agent.send({"type": "ping", "id": 5})
    reply, _ = agent.receive()
    assert reply["id"] == 5
    assert reply["uptime"] > 0
    assert len(reply["boot_id"]) == 36
    assert reply["agent"] == 1
    assert reply["commands"] == 0


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("sh", "-c", "kill -TERM $$"), 143),
    ],
)
def test_exit_status(agent: RawAgent, argv: tuple[str, ...], status: int) -> None:
    run(agent, *argv)
    assert finish(agent) == (status, b"", b"")


def test_a_missing_command_is_127_and_one_that_cannot_run_is_126(
    agent: RawAgent, tmp_path: Path
) -> None:
    run(agent, "no-such-command")
    assert finish(agent) == (127, b"", b"banger: no-such-command: command not found\n")
    (tmp_path / "plain").write_text("text")
    run(agent, str(tmp_path / "plain"))
    assert finish(agent)[0] == 126
    run(agent, str(tmp_path))
    assert finish(agent)[0] == 126
    run(agent, "true", cwd="/no/such/folder")
    assert finish(agent)[0] == 127


def test_a_script_without_an_interpreter_line_runs(agent: RawAgent, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "got $1"\n')
    script.chmod(0o755)
    run(agent, "script", "x y", env={"PATH": f"{tmp_path}:/bin"})
    assert finish(agent) == (0, b"got x y\n", b"")


def test_environment_and_folder(agent: RawAgent, tmp_path: Path) -> None:
    run(agent, "sh", "-c", "echo $GREETING; pwd; echo $PATH", env={"GREETING": "hi"}, cwd="/tmp")
    status, out, _ = finish(agent)
    greeting, folder, path = out.decode().split("\n")[:3]
    assert (status, greeting, folder) == (0, "hi", "/tmp")
    assert "/usr/sbin" in path


def test_bytes_that_are_no_text(agent: RawAgent) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    run(agent, "printf", "%s", odd)
    assert finish(agent)[1] == b"\xff\xfe"


def test_streams_are_apart_and_binary(agent: RawAgent) -> None:
    run(agent, "sh", "-c", "cat; echo err >&2")
    data = bytes(range(256)) * 100
    agent.send({"type": "data", "id": 1}, data)
    agent.send({"type": "data", "id": 1}, b"")
    assert finish(agent) == (0, data, b"err\n")


def test_a_command_is_in_a_session_of_its_own_with_default_signals(agent: RawAgent) -> None:
    run(agent, "sh", "-c", "cut -d' ' -f5,6 /proc/$$/stat; grep SigIgn /proc/$$/status; echo $$")
    _, out, _ = finish(agent)
    numbers, ignored, pid = out.decode().splitlines()
    assert numbers == f"{pid} {pid}"
    # Python ignores SIGPIPE, and who started the agent three more; the command must not. Signals
    # above 31 are left out: two of those are the C library's own.
    assert int(ignored.split()[1], 16) & (1 << 31) - 1 == 0


def test_no_descriptor_leaks_into_a_command(agent: RawAgent) -> None:
    run(agent, "sh", "-c", "ls /proc/$$/fd")
    assert finish(agent)[1].split() == [b"0", b"1", b"2"]


def test_output_stops_at_the_window_and_goes_on_with_credit(agent: RawAgent) -> None:
    run(agent, "head", "-c", "400000", "/dev/zero")
    got = 0
    while got < WINDOW:
        _, payload = agent.receive()
        got += len(payload)
    assert got == WINDOW
    assert agent.silent(0.3)
    # Another command is not held up by the one that waits.
    agent.send({"type": "ping", "id": 9})
    assert agent.receive()[0]["type"] == "reply"
    agent.send({"type": "credit", "id": 1, "channel": "stdout", "bytes": WINDOW})
    assert len(finish(agent)[1]) == 400000 - WINDOW


def test_room_for_input_is_given_back_as_it_is_read(agent: RawAgent) -> None:
    run(agent, "sleep", "30")
    for _ in range(8):
        agent.send({"type": "data", "id": 1}, bytes(32 * 1024))
    # The pipe takes some, nobody reads: the rest stays with the agent and no room is reported.
    returned = 0
    while not agent.silent(0.3):
        message, _ = agent.receive()
        returned += message["bytes"]
    assert returned <= 128 * 1024
    agent.send({"type": "signal", "id": 1, "signal": signal.SIGTERM})
    assert finish(agent)[0] == 143


def test_input_for_a_command_that_closed_it_is_swallowed(agent: RawAgent) -> None:
    run(agent, "sh", "-c", "exec 0<&-; sleep 0.2; echo done")
    returned = 0
    time.sleep(0.1)
    for _ in range(4):
        agent.send({"type": "data", "id": 1}, bytes(32 * 1024))
    while returned < 4 * 32 * 1024:
        message, _ = agent.receive()
        assert message["type"] == "credit"
        returned += message["bytes"]
    assert finish(agent) == (0, b"done\n", b"")


def test_a_child_left_behind_does_not_hold_the_command(agent: RawAgent) -> None:
    run(agent, "sh", "-c", "sleep 30 & echo $!")
    start = time.monotonic()
    status, out, _ = finish(agent)
    assert status == 0
    assert time.monotonic() - start < 10
    os.kill(int(out), signal.SIGKILL)


def test_signals_reach_the_whole_group(agent: RawAgent) -> None:
    run(agent, "sh", "-c", "sleep 30 & echo $!; wait")
    message, payload = agent.receive()
    assert message["type"] == "data"
    child = int(payload)
    agent.send({"type": "signal", "id": 1, "signal": signal.SIGKILL})
    assert finish(agent)[0] == 137
    wait_until(lambda: not alive(child))


def test_close_hangs_up(agent: RawAgent) -> None:
    run(agent, "sh", "-c", "echo $$; exec sleep 30")
    pid = int(agent.receive()[1])
    agent.send({"type": "close", "id": 1})
    wait_until(lambda: not alive(pid))


def test_hello_hangs_up_on_everything_and_starts_anew(agent: RawAgent) -> None:
    run(agent, "sh", "-c", "trap '' HUP; echo $$; sleep 1; sleep 1; sleep 30")
    pid = int(agent.receive()[1])
    # The end of the earlier conversation was lost in the middle of a payload.
    agent.socket.sendall(b'{"type":"data","id":1,"n":32768}\nhalf')
    agent.socket.sendall(FILLER)
    agent.send({"type": "hello", "nonce": "second", "version": 1})
    while agent.receive()[0].get("nonce") != "second":
        pass
    # Ids begin anew, though the old bearer of this one does not heed SIGHUP.
    run(agent, "sh", "-c", "echo new")
    assert finish(agent) == (0, b"new\n", b"")
    wait_until(lambda: not alive(pid))
    agent.send({"type": "ping", "id": 2})
    assert agent.receive()[0]["type"] == "reply"


@dataclass
class PortAgent:
    """The agent in this process, at a port where hosts come and go; its loop is turned by hand."""

    agent: Any
    host: socket.socket

    def say(self, message: dict[str, Any]) -> None:
        self.host.sendall(json.dumps(message).encode() + b"\n")
        self.agent.port_ready(select.POLLIN)
        self.agent.settle()

    def heard(self) -> list[str]:
        """The types of the messages that came."""
        self.agent.settle()
        with contextlib.suppress(BlockingIOError):
            lines = self.host.recv(1 << 16, socket.MSG_DONTWAIT).split(b"\n")
            return [json.loads(line)["type"] for line in lines if line]
        return []


@pytest.fixture
def port_agent() -> Iterator[PortAgent]:
    loop = importlib.import_module("banger.guest_files.agent.loop")
    port = importlib.import_module("banger.guest_files.agent.port")
    numbers = (signal.SIGCHLD, signal.SIGIO)
    before = [signal.getsignal(number) for number in numbers]
    host, theirs = socket.socketpair()
    made = PortAgent(loop.Agent(port.Port(theirs.detach()), reconnects=True), host)
    wake_write = signal.set_wakeup_fd(-1)
    made.agent.connect()
    made.agent.settle()
    # An agent stands where its last command was started.
    folder = Path.cwd()
    yield made
    os.chdir(folder)
    host.close()
    for descriptor in (made.agent.port.fd, made.agent.wake, wake_write):
        os.close(descriptor)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_an_agent_at_a_port_says_that_it_is_ready(port_agent: PortAgent) -> None:
    assert port_agent.heard() == ["ready"]
    port_agent.say({"type": "hello", "nonce": "n", "version": 1})
    assert port_agent.heard() == ["hello"]


def test_an_earlier_host_seen_going_late_ends_nothing(port_agent: PortAgent) -> None:
    port_agent.say({"type": "hello", "nonce": "n", "version": 1})
    port_agent.say({"type": "exec", "id": 1, "argv": ["sleep", "60"], "cwd": "/"})
    assert port_agent.heard()[:2] == ["ready", "hello"]
    # What the next host has said already is not dropped either.
    port_agent.host.sendall(b'{"type":"ping","id":2}\n')
    port_agent.agent.port_ready(select.POLLIN | select.POLLHUP)
    assert list(port_agent.agent.commands) == [1]
    port_agent.agent.port_ready(select.POLLIN)
    assert port_agent.heard() == ["reply"]
    port_agent.agent.give_up_commands()


def test_a_host_that_stays_away_is_given_up(
    port_agent: PortAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = port_agent.agent
    port_agent.say({"type": "hello", "nonce": "n", "version": 1})
    port_agent.say({"type": "exec", "id": 1, "argv": ["sleep", "60"], "cwd": "/"})
    pid = agent.commands[1].pid
    monkeypatch.setattr("banger.guest_files.agent.loop.ABSENCE", 0.0)
    # Closing would not do: for a moment the command, not yet executed, holds this end as well.
    port_agent.host.shutdown(socket.SHUT_RDWR)
    agent.port_ready(select.POLLIN | select.POLLHUP)
    assert not agent.connected
    assert list(agent.commands) == [1]
    assert agent.time_left() < 5
    agent.settle()
    assert not agent.greeted
    assert agent.commands == {}
    assert os.waitpid(pid, 0)[1] == signal.SIGHUP


def test_many_commands_at_once(agent: RawAgent) -> None:
    for ident in range(1, 21):
        run(agent, "sh", "-c", f"echo {ident}; exit {ident}", ident=ident)
    statuses: dict[int, int] = {}
    output: dict[int, bytes] = {}
    open_ends = 40
    while len(statuses) < 20 or open_ends:
        message, payload = agent.receive()
        if message["type"] == "exit":
            statuses[message["id"]] = message["status"]
        else:
            output[message["id"]] = output.get(message["id"], b"") + payload
            open_ends -= not payload
    assert statuses == {ident: ident for ident in range(1, 21)}
    assert output == {ident: f"{ident}\n".encode() for ident in range(1, 21)}


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"no json\n",
        b"[]\n",
        b'{"type": 5, "id": 1}\n',
        b'{"type":"exec","id":1,"argv":"ls"}\n',
        b'{"type":"exec","id":1,"argv":[]}\n',
        b'{"type":"exec"}\n',
        b'{"type":"ping","id":"x"}\n',
        b'{"type":"nonsense","id":3}\n',
        b'{"type":"data","id":1,"n":-4}\n',
        b'{"type":"data","id":1,"n":99999999999}\n',
        b'{"n":[]}\n',
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_message_does_not_end_it(agent: RawAgent, line: bytes) -> None:
    agent.socket.sendall(line)
    agent.send({"type": "ping", "id": 77})
    while True:
        message, _ = agent.receive()
        if message["type"] == "reply":
            assert message["id"] == 77
            break
        assert message["type"] == "error"


def test_a_signal_to_a_command_that_lives_with_an_odd_number(agent: RawAgent) -> None:
    run(agent, "sleep", "30")
    agent.send({"type": "signal", "id": 1, "signal": 4000})
    assert agent.receive()[0]["type"] == "error"
    agent.send({"type": "signal", "id": 1, "signal": 15})
    assert finish(agent)[0] == 143


def test_twenty_megabytes_both_ways(agent: RawAgent) -> None:
    data = os.urandom(20 * 1024 * 1024)
    run(agent, "cat")
    sent = got = 0
    room, digest = WINDOW, hashlib.sha256()
    ended, status = False, None
    while got < len(data) or status is None:
        while room >= 32768 and sent < len(data):
            agent.send({"type": "data", "id": 1}, data[sent : sent + 32768])
            sent, room = sent + 32768, room - 32768
        if sent >= len(data) and not ended:
            agent.send({"type": "data", "id": 1}, b"")
            ended = True
        message, payload = agent.receive()
        if message["type"] == "credit":
            room += message["bytes"]
        elif message["type"] == "exit":
            # It may overtake the last pieces of output.
            status = message["status"]
        elif payload:
            got += len(payload)
            digest.update(payload)
            count = {"channel": "stdout", "bytes": len(payload)}
            agent.send({"type": "credit", "id": 1, **count})
    assert digest.digest() == hashlib.sha256(data).digest()
    assert status == 0


def test_an_idle_agent_takes_no_time(agent: RawAgent) -> None:
    run(agent, "sleep", "30")
    agent.send({"type": "ping", "id": 2})
    agent.receive()

    def ticks() -> int:
        fields = Path(f"/proc/{agent.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(0.5)
    assert ticks() - before <= 1
    agent.send({"type": "close", "id": 1})


@pytest.mark.skipif(
    any(
        path.read_text().strip() == "banger.0"
        for path in Path("/sys/class/virtio-ports").glob("*/name")
    ),
    reason="this is itself a guest of banger",
)
def test_a_vm_without_the_port_is_no_failure() -> None:
    unused, other = socket.socketpair()
    with unused, other:
        agent = start_agent(unused.fileno(), arguments=())
        assert agent.wait(20) == 0


@pytest.mark.parametrize(("trusted", "served"), [("127.0.0.1", True), ("127.0.0.2", False)])
def test_only_the_trusted_side_of_a_vsock_is_served(trusted: str, served: bool) -> None:
    vsock = importlib.import_module("banger.guest_files.agent.vsock")
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = vsock.Listener(os.dup(server.fileno()), trusted=trusted)
        assert listener.accept() == -1
        with socket.create_connection(server.getsockname()) as caller:
            caller.settimeout(20)
            given = listener.accept()
            if served:
                os.write(given, b"hello")
                assert caller.recv(5) == b"hello"
                os.close(given)
            else:
                assert given == -1
                assert caller.recv(5) == b""
        listener.socket.close()


def test_the_vsock_of_the_guest_and_of_the_host_agree() -> None:
    vsock = importlib.import_module("banger.guest_files.agent.vsock")
    assert vsock.PORT == AGENT_VSOCK_PORT


def test_an_imported_image_brings_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = importlib.import_module("banger.guest_files.agent.main")
    environment = {"PATH": "/bin", "HOME": "/root"}
    monkeypatch.setattr(main.command, "DEFAULT_ENV", environment)
    main.take_environment(str(tmp_path / "none"), str(tmp_path / "none"))
    assert environment == {"PATH": "/bin", "HOME": "/root"}
    (tmp_path / "env").write_bytes(b"PATH=/opt/bin\0A=b=c\0=x\0odd\0LATIN=\xe9")
    main.take_environment(str(tmp_path / "env"), str(tmp_path))
    assert environment == {
        "PATH": f"/opt/bin:{tmp_path}", "HOME": "/root", "A": "b=c", "LATIN": "\udce9"
    }  # fmt: skip
