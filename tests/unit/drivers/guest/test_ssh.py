"""OpenSSH's command line is strict and keeps the user's set-up out; the greeting is waited for."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from banger.drivers.guest.base import SSHHost
from banger.drivers.guest.ssh import ssh_banner, ssh_command
from banger.drivers.guest.ssh_config import ssh_config_text
from tests.requirements import needs


def command(key: Path = Path("/k/id"), known_hosts: Path = Path("/k/known_hosts")) -> list[str]:
    return list(
        ssh_command(
            host="172.30.0.2",
            port=22,
            user="root",
            key=key,
            known_hosts=known_hosts,
            host_key_alias="banger-0123456789ab",
        )
    )


def test_argv() -> None:
    argv = command()
    assert argv[:3] == ["ssh", "-F", "/dev/null"]
    assert argv[-3:] == ["-p", "22", "root@172.30.0.2"]
    for option in ("StrictHostKeyChecking=yes", "HostKeyAlias=banger-0123456789ab"):
        assert option in argv


@needs("ssh")
def test_openssh_understands_it(tmp_path: Path) -> None:
    known_hosts = tmp_path / 'a "b" %c' / "known_hosts"
    argv = command(known_hosts=known_hosts)
    shown = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True)
    options = dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)
    assert options["stricthostkeychecking"] == "true"
    assert options["userknownhostsfile"] == str(known_hosts)
    assert options["globalknownhostsfile"] == "/dev/null"
    assert options["identitiesonly"] == "yes"
    assert options["identityagent"] == "none"
    assert options["updatehostkeys"] == "false"
    assert options["kexalgorithms"].startswith("curve25519-sha256,")
    assert options["forwardagent"] == "no"


@contextlib.contextmanager
def serving(answer: Callable[[], bytes]) -> Iterator[int]:
    """A server in threads of its own: the port. Each connection gets ``answer()``."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.sendall(answer())
                while self.request.recv(4096):
                    pass

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


async def test_a_greeting() -> None:
    with serving(lambda: b"SSH-2.0-test\r\n") as port:
        assert await ssh_banner("127.0.0.1", port, timeout=5)


async def test_a_slow_greeting() -> None:
    def slowly() -> bytes:
        time.sleep(0.6)
        return b"SSH-2.0-test\r\n"

    with serving(slowly) as port:
        assert await ssh_banner("127.0.0.1", port, timeout=10)


async def test_another_greeting_is_none() -> None:
    with serving(lambda: b"220 mail\r\n") as port:
        assert not await ssh_banner("127.0.0.1", port, timeout=0.3)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        start = time.monotonic()
        assert not await ssh_banner("127.0.0.1", taken.getsockname()[1], timeout=0.3)
        assert time.monotonic() - start < 3


async def test_a_host_that_is_none() -> None:
    assert not await ssh_banner("256.0.0.1.invalid", 22, timeout=0.3)


async def test_found_soon_after_it_comes_up_behind_a_port_that_swallows() -> None:
    """As a user-mode network does: accepts at once, and never answers what came too early."""
    up_at = time.monotonic() + 1.0
    with serving(lambda: b"SSH-2.0-test\r\n" if time.monotonic() >= up_at else b"") as port:
        assert await ssh_banner("127.0.0.1", port, timeout=10)
        assert time.monotonic() - up_at < 1.0


@needs("ssh")
def test_the_configuration_says_what_the_command_line_says(tmp_path: Path) -> None:
    folder = tmp_path / 'a "b" %c'
    folder.mkdir()
    key, known_hosts = folder / "id", folder / "known_hosts"
    host = SSHHost("web.vm", "172.30.0.2", 2201, "banger-0123456789ab")
    other = SSHHost("db.vm", "127.0.0.1", 2202, "banger-ba9876543210")
    text = ssh_config_text([host, other], user="root", key=key, known_hosts=known_hosts)
    config = folder / "config"
    # What a user has for all hosts, further down, must not reach a VM.
    config.write_text(text + "\nHost *\n  ProxyJump far\n  StrictHostKeyChecking no\n  User me\n")
    config.chmod(0o600)
    shown = _options("ssh", "-F", str(config), "-G", "web.vm")
    argv = command(key, known_hosts)
    argv[argv.index("22")] = "2201"
    given = _options(argv[0], "-G", *argv[1:])
    differing = {name for name in given if given[name] != shown.get(name)}
    assert differing <= {"host", "hashknownhosts"}
    assert shown.get("proxyjump") is None
    assert _options("ssh", "-F", str(config), "-G", "db.vm")["port"] == "2202"
    assert _options("ssh", "-F", str(config), "-G", "x.vm")["user"] == "me"


def _options(*argv: str) -> dict[str, str]:
    shown = subprocess.run(argv, capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)
