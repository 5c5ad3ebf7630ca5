"""A network namespace called internet, joined to the host, with servers and clients in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: The namespace called internet, on a network of the documentation range.
WORLD_HOST, WORLD = "198.51.100.1", "198.51.100.2"


def run(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=check, timeout=30)


@contextlib.contextmanager
def namespace(name: str, link: str, host: str, inside: str, length: int, mac: str) -> Iterator[str]:
    """A namespace joined to the host by a veth pair whose end on the host is ``link``."""
    peer = f"p{link}"[:15]
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", link, "type", "veth", "peer", "name", peer, "netns", name)
        run("ip", "address", "add", f"{host}/{length}", "dev", link)
        run("ip", "link", "set", link, "up")
        for command in (
            f"link set {peer} address {mac}",
            f"address add {inside}/{length} dev {peer}",
            f"link set {peer} up",
            "link set lo up",
        ):
            run("ip", "-n", name, *command.split())
        yield name
    finally:
        run("ip", "netns", "delete", name, check=False)
        run("ip", "link", "delete", link, check=False)


@contextlib.contextmanager
def internet() -> Iterator[str]:
    """The world: what lies behind the host. Forwarding from it is off, as on a fresh host."""
    name = f"internet{os.getpid()}"
    link = link_to(name)
    with namespace(name, link, WORLD_HOST, WORLD, 24, "02:00:00:00:00:99"):
        Path(f"/proc/sys/net/ipv4/conf/{link}/forwarding").write_text("0")
        yield name


def link_to(name: str) -> str:
    """The interface of the host that leads to the namespace ``internet...``."""
    return name.replace("internet", "inet")


@contextlib.contextmanager
def server(where: str, port: int) -> Iterator[None]:
    """Says hello to every client, and then who it took the client for."""
    script = (
        "import socket,sys\n"
        "s=socket.socket();s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n"
        f"s.bind(('0.0.0.0',{port}));s.listen();print('up',flush=True)\n"
        "while True:\n c,a=s.accept();c.sendall(b'hello '+a[0].encode());c.close()\n"
    )
    prefix = ["ip", "netns", "exec", where] if where else []
    process = subprocess.Popen(
        [*prefix, "/usr/bin/python3", "-I", "-c", script], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"up\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(where: str, address: str, port: int, source: str = "") -> str:
    """What the server at ``address`` says to a client in namespace ``where``."""
    script = (
        "import socket\n"
        f"s=socket.create_connection(('{address}',{port}),1.5,source_address=('{source}',0))\n"
        "print(s.recv(100).decode())\n"
    )
    prefix = ["ip", "netns", "exec", where] if where else []
    return run(*prefix, "/usr/bin/python3", "-I", "-c", script, check=False).stdout.strip()
