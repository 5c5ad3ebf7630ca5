"""Real guests and the world: nothing passes until somebody asks for it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.internet import WORLD, WORLD_HOST, ask, internet, link_to, run, server
from tests.plain_ssh import config_of, plain
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = [needs("root", "qemu", "image", "ssh", "tap", "nft"), pytest.mark.slow]


@pytest.fixture
def world() -> Iterator[str]:
    with internet() as name:
        yield name


def from_guest(banger: Home, vm: str, address: str, port: int, source: str = "") -> str:
    """What the server at ``address`` says to a client in the guest."""
    script = (
        "import socket\n"
        f"s=socket.create_connection(('{address}',{port}),3,source_address=('{source}',0))\n"
        "print(s.recv(100).decode())\n"
    )
    return banger("exec", vm, "--", "python3", "-c", script).stdout.strip()


def rules() -> str:
    done = subprocess.run(
        ["nft", "list", "table", "inet", "banger_0"], capture_output=True, text=True, check=False
    )
    return done.stdout


def test_a_guest_reaches_the_world_while_nat_is_up(
    banger_with_image: Home, leaves_nothing: Callable[[], None], world: str
) -> None:
    banger = banger_with_image
    link = link_to(world)
    forwarding = Path(f"/proc/sys/net/ipv4/conf/{link}/forwarding")
    banger.ok("run", "--name", "web", "--network", "tap")
    tap = "bgr" + banger.json("show", "web")["id"]
    with server(world, 80):
        assert from_guest(banger, "web", WORLD, 80) == ""
        banger.ok("nat", "up", "web")
        assert from_guest(banger, "web", WORLD, 80) == f"hello {WORLD_HOST}"
        assert banger.json("nat", "status", "web")[0]["nat"] is True

        # Neither another address of its own nor the host's other services.
        banger.ok("exec", "web", "--", "ip", "address", "add", "10.99.9.9/32", "dev", "lo")
        assert from_guest(banger, "web", WORLD, 80, source="10.99.9.9") == ""
        with server("", 8095):
            gateway = banger.ok("exec", "web", "--", "sh", "-c", "ip route | cut -d' ' -f3")
            assert from_guest(banger, "web", gateway.split()[0], 8095) == ""

        # A daemon that is killed finds and mends what it had made.
        os.kill(banger.json("daemon", "status")["pid"], signal.SIGKILL)
        run("nft", "delete", "element", "inet", "banger_0", "internet", f"{{ {tap} }}")
        assert f'elements = {{ "{tap}" }}' not in rules().partition("set internet")[2][:80]
        banger.ok("ls")
        _until(lambda: f'internet {{\n\t\ttype ifname\n\t\telements = {{ "{tap}"' in rules())
        assert from_guest(banger, "web", WORLD, 80) == f"hello {WORLD_HOST}"

        banger.ok("stop", "web")
        assert tap not in rules()
        assert forwarding.read_text() == "0\n"
        banger.ok("start", "web")
        assert from_guest(banger, "web", WORLD, 80) == f"hello {WORLD_HOST}"
        banger.ok("nat", "down", "web")
        assert from_guest(banger, "web", WORLD, 80) == ""
    banger.ok("rm", "-f", "web")
    assert tap not in rules()


def test_a_published_port_is_reached_from_host_and_world(
    banger_with_image: Home, leaves_nothing: Callable[[], None], world: str
) -> None:
    banger = banger_with_image
    banger.ok("run", "--name", "web", "--network", "tap")
    serve = (  # in the background once it listens
        "import os,socket;s=socket.create_server(('0.0.0.0',80))\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "while True:\n c,a=s.accept();c.sendall(b'hello '+a[0].encode());c.close()\n"
    )
    start = f'python3 -c "{serve}" >/dev/null 2>&1 </dev/null'
    banger.ok("exec", "web", "--", "sh", "-c", start)
    banger.ok("vm", "forward", "web", "8094:80")
    assert ask("", "127.0.0.1", 8094).startswith("hello")
    assert ask("", WORLD_HOST, 8094).startswith("hello")
    assert ask(world, WORLD_HOST, 8094) == f"hello {WORLD}"
    banger.ok("vm", "forward", "rm", "web", "8094")
    assert ask("", "127.0.0.1", 8094) == ""
    assert ask(world, WORLD_HOST, 8094) == ""
    with server("", 8094):
        refused = banger("vm", "forward", "web", "8094:80")
    assert refused.status == 5
    assert "listens on port 8094/tcp" in refused.stderr
    banger.ok("rm", "-f", "web")


def test_a_port_of_the_user_mode_network(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    banger.ok("run", "--name", "mine", "--network", "user", "-p", "8092:22")
    assert ask("", "127.0.0.1", 8092).startswith("SSH-2.0")
    banger.ok("vm", "forward", "rm", "mine", "8092")
    assert banger.json("nat", "status", "mine")[0]["nat"] is True
    refused = banger("nat", "down", "mine")
    assert (refused.status, "--network tap" in refused.stderr) == (5, True)
    banger.ok("vm", "forward", "mine", "8091:22")
    assert ask("", "127.0.0.1", 8091).startswith("SSH-2.0")
    with server("", 8090):
        taken = banger("vm", "forward", "mine", "8090:22")
    assert taken.status == 5, taken
    assert banger.ok("vm", "forward", "mine") == "8091:22\n"
    banger.ok("vm", "forward", "rm", "mine", "8091:22")
    assert ask("", "127.0.0.1", 8091) == ""
    config_of(banger)
    assert plain(banger, "ssh", "mine.vm", "hostname") == "mine\n"
    banger.ok("rm", "-f", "mine")
    assert "mine.vm" not in banger.paths.ssh_config.read_text()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
