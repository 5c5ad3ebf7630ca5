"""The rules on the real kernel: network namespaces play the guests and the world.

A guest is a namespace behind the TAP's name: for the rules, a veth pair is as good as a TAP.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from banger import naming
from banger.privileged import execute, nat
from banger.privileged.calls import CallFailed, NatApply, NatClear
from tests.fakes.internet import WORLD, WORLD_HOST, ask, internet, link_to, namespace, run, server
from tests.requirements import needs

USER = 65534
pytestmark = needs("root", "tap", "nft")


@pytest.fixture
def world() -> Iterator[str]:
    with internet() as name:
        yield name


@dataclass(frozen=True)
class Guest:
    """A namespace that stands for a guest."""

    name: str
    vm_id: str
    number: int
    uid: int = 0

    @property
    def address(self) -> str:
        return f"10.209.77.{4 * self.number + 2}"

    @property
    def gateway(self) -> str:
        return f"10.209.77.{4 * self.number + 1}"

    @property
    def call(self) -> NatApply:
        return NatApply(
            name=naming.tap_name(self.vm_id),
            alias=naming.tap_alias(self.uid, self.vm_id),
            guest_address=self.address,
            guest_mac=naming.mac_address(self.vm_id),
            internet=False,
            isolated=False,
            host=False,
            forwards=(),
            dns_port=0,
        )

    def apply(self, **changes: object) -> None:
        execute.perform([self.call.replaced(**changes)], self.uid)

    def clear(self) -> None:
        execute.perform([NatClear(self.call.name, self.call.alias)], self.uid)


@contextlib.contextmanager
def guest(number: int, uid: int = 0) -> Iterator[Guest]:
    made = Guest(f"bgrtest{os.getpid()}x{number}", naming.new_id(), number, uid)
    tap, mac = made.call.name, made.call.guest_mac
    with namespace(made.name, tap, made.gateway, made.address, 30, mac):
        run("ip", "link", "set", tap, "alias", made.call.alias)
        Path(f"/proc/sys/net/ipv4/conf/{tap}/forwarding").write_text("0")
        run("ip", "-n", made.name, "route", "add", "default", "via", made.gateway)
        try:
            yield made
        finally:
            made.clear()


@pytest.fixture
def web() -> Iterator[Guest]:
    with guest(0) as made:
        yield made


@pytest.fixture
def db() -> Iterator[Guest]:
    with guest(1) as made:
        yield made


def pings(where: str, address: str) -> bool:
    # An echo request by hand: ping is not installed everywhere.
    script = (
        "import socket\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_ICMP);s.settimeout(1.5)\n"
        f"s.sendto(bytes([8,0,0xf7,0xff,0,0,0,0]),('{address}',0));s.recv(99)\n"
    )
    argv = ("ip", "netns", "exec", where, "/usr/bin/python3", "-I", "-c", script)
    return run(*argv, check=False).returncode == 0


def forwarding(link: str) -> str:
    return Path(f"/proc/sys/net/ipv4/conf/{link}/forwarding").read_text().strip()


def tables() -> str:
    return run("nft", "list", "tables").stdout


def test_the_world_only_while_nat_is_up(web: Guest, world: str) -> None:
    link = link_to(world)
    with server(world, 80):
        web.apply()
        assert ask(web.name, WORLD, 80) == ""
        assert forwarding(link) == "0"
        web.apply(internet=True)
        assert ask(web.name, WORLD, 80) == f"hello {WORLD_HOST}"
        assert forwarding(link) == "1"
        web.apply()
        assert ask(web.name, WORLD, 80) == ""
        assert forwarding(link) == "0", "what we switched on is off again"


def test_the_world_does_not_get_in_nor_through(web: Guest, db: Guest, world: str) -> None:
    web.apply(internet=True)
    db.apply()
    for name in (web, db):
        run("ip", "-n", world, "route", "add", f"{name.address}/32", "via", WORLD_HOST)
        with server(name.name, 80):
            assert ask("", name.address, 80).startswith("hello"), "the host reaches it"
            assert ask(world, name.address, 80) == ""


def test_an_open_connection_ends_with_nat(web: Guest, world: str) -> None:
    web.apply(internet=True)
    listener = (
        "import socket;s=socket.create_server(('0.0.0.0',81));print('up',flush=True);"
        "c,_=s.accept();c.settimeout(20);\n"
        "while d:=c.recv(9): c.sendall(d)"
    )
    talker = (
        f"input();import socket;s=socket.create_connection(('{WORLD}',81),2);s.settimeout(1.5)\n"
        "for _ in range(2):\n s.sendall(b'x');print(s.recv(9),flush=True);input()\n"
    )
    python = ("/usr/bin/python3", "-I", "-c")
    with (
        subprocess.Popen(
            ["ip", "netns", "exec", world, *python, listener], stdout=subprocess.PIPE
        ) as far,
        subprocess.Popen(
            ["ip", "netns", "exec", web.name, *python, talker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as near,
    ):
        try:
            assert far.stdout is not None
            assert near.stdout is not None
            assert near.stdin is not None
            far.stdout.readline()
            near.stdin.write(b"\n")
            near.stdin.flush()
            assert near.stdout.readline() == b"b'x'\n"
            web.apply()
            _, error = near.communicate(b"\n", timeout=15)
            assert b"TimeoutError" in error
        finally:
            far.kill()
            near.kill()


def test_a_spoofed_source_goes_nowhere(web: Guest, world: str) -> None:
    web.apply(internet=True)
    with server(world, 80):
        assert ask(web.name, WORLD, 80).startswith("hello")
        run("ip", "-n", web.name, "address", "add", "10.209.77.99/32", "dev", "lo")
        assert ask(web.name, WORLD, 80, source="10.209.77.99") == ""
        run("ip", "-n", web.name, "link", "set", f"p{web.call.name}"[:15], "down")
        run(
            "ip", "-n", web.name, "link", "set", f"p{web.call.name}"[:15],
            "address", "02:00:00:00:00:01", "up",
        )  # fmt: skip
        run("ip", "-n", web.name, "route", "replace", "default", "via", web.gateway)
        assert ask(web.name, WORLD, 80) == "", "another MAC"


def test_no_guest_reaches_link_local(web: Guest, world: str) -> None:
    web.apply(internet=True)
    run("ip", "-n", world, "address", "add", "169.254.169.254/32", "dev", "lo")
    route = ("169.254.169.254/32", "via", WORLD, "dev", link_to(world))
    run("ip", "route", "add", *route)
    try:
        with server(world, 80):
            assert ask("", "169.254.169.254", 80).startswith("hello")
            assert ask(web.name, "169.254.169.254", 80) == ""
    finally:
        run("ip", "route", "delete", *route)


def test_guests_reach_each_other_unless_one_is_isolated(web: Guest, db: Guest) -> None:
    web.apply()
    db.apply()
    with server(db.name, 80):
        assert ask(web.name, db.address, 80) == f"hello {web.address}"
        for one, other in ((web, db), (db, web)):
            one.apply(isolated=True)
            assert ask(web.name, db.address, 80) == ""
            one.apply()
            other.apply()
        assert ask(web.name, db.address, 80) != ""


def test_the_host_answers_ping_and_nothing_else_unless_asked_to(web: Guest) -> None:
    web.apply()
    with server("", 8099):
        assert pings(web.name, web.gateway)
        assert ask(web.name, web.gateway, 8099) == ""
        web.apply(host=True)
        assert ask(web.name, web.gateway, 8099) == f"hello {web.address}"


def test_a_published_port_from_everywhere(web: Guest, db: Guest, world: str) -> None:
    web.apply(forwards=("tcp:8098:80",))
    db.apply()
    with server(web.name, 80):
        assert ask("", "127.0.0.1", 8098) == f"hello {web.gateway}"
        assert ask("", WORLD_HOST, 8098).startswith("hello")
        assert ask(world, WORLD_HOST, 8098) == f"hello {WORLD}"
        assert ask(db.name, db.gateway, 8098) == f"hello {db.address}"
        web.apply()
        assert ask("", "127.0.0.1", 8098) == ""
        assert ask(world, WORLD_HOST, 8098) == ""


def test_a_published_port_of_udp(web: Guest) -> None:
    web.apply(forwards=("udp:8097:53",))
    script = (
        "import socket;s=socket.socket(type=socket.SOCK_DGRAM);s.bind(('0.0.0.0',53));"
        "print('up',flush=True);d,a=s.recvfrom(9);s.sendto(d[::-1],a)"
    )
    with subprocess.Popen(
        ["ip", "netns", "exec", web.name, "/usr/bin/python3", "-I", "-c", script],
        stdout=subprocess.PIPE,
    ) as echo:
        try:
            assert echo.stdout is not None
            echo.stdout.readline()
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.settimeout(3)
                client.sendto(b"abc", ("127.0.0.1", 8097))
                assert client.recv(9) == b"cba"
        finally:
            echo.kill()


def test_a_port_that_others_use_is_refused(web: Guest, db: Guest) -> None:
    with server("", 8096), pytest.raises(CallFailed, match="listens on port 8096/tcp"):
        web.apply(forwards=("tcp:8096:80",))
    web.apply(forwards=("tcp:8096:80",))
    web.apply(forwards=("tcp:8096:81",))
    with pytest.raises(CallFailed, match="published by another VM"):
        db.apply(forwards=("tcp:8096:80",))


def test_the_last_guest_takes_the_table_along(web: Guest, db: Guest) -> None:
    if "banger_0" in tables():
        pytest.skip("VMs of root run on this machine at the same time")
    web.apply(internet=True)
    db.apply()
    web.clear()
    assert "banger_0" in tables()
    db.clear()
    db.clear()
    assert "banger_0" not in tables()


def test_two_users_do_not_get_in_each_others_way(web: Guest, world: str) -> None:
    link = link_to(world)
    with guest(2, uid=USER) as theirs, server(world, 80), server(web.name, 80):
        web.apply(internet=True)
        theirs.apply(internet=True)
        assert ask(theirs.name, WORLD, 80) == f"hello {WORLD_HOST}"
        assert ask(theirs.name, web.address, 80) == "", "another user's VM"
        web.apply(forwards=("tcp:8092:80",))
        with pytest.raises(CallFailed, match="published by another VM"):
            theirs.apply(forwards=("tcp:8092:80",))
        web.clear()
        assert ask(theirs.name, WORLD, 80) == f"hello {WORLD_HOST}"
        theirs.apply()
        assert forwarding(link) == "0"
        theirs.clear()
        assert f"banger_{USER}" not in tables()


def test_forwarding_of_others_making_stays(web: Guest, world: str) -> None:
    link = link_to(world)
    Path(f"/proc/sys/net/ipv4/conf/{link}/forwarding").write_text("1")
    web.apply(internet=True)
    web.apply()
    assert forwarding(link) == "1"


def test_a_table_that_others_have_changed_is_made_anew(web: Guest, db: Guest) -> None:
    web.apply()
    elements = f'{{ "{web.call.name}" }}'
    run("nft", "delete", "element", "inet", "banger_0", "taps", elements)
    web.apply(isolated=True)
    web.clear()
    db.apply()
    assert web.call.name not in run("nft", "list", "table", "inet", "banger_0").stdout


def test_an_address_that_is_not_its_own_is_refused(web: Guest, db: Guest) -> None:
    with pytest.raises(CallFailed, match="is not behind"):
        web.apply(guest_address=db.address)


def test_a_guest_that_vanished_is_forgotten(web: Guest, db: Guest) -> None:
    web.apply()
    run("ip", "link", "delete", web.call.name)
    db.apply()
    assert web.call.name not in run("nft", "list", "table", "inet", "banger_0").stdout


def test_changes_at_once_lose_none(web: Guest, db: Guest) -> None:
    threads = [
        threading.Thread(target=one.apply, kwargs={"internet": number % 2 == 0})
        for number in range(3)
        for one in (web, db)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listed = nat.read("banger_0")
    assert listed is not None
    assert {web.call.name, db.call.name} <= set(listed.guests)


def test_an_interface_without_our_mark_is_refused(web: Guest) -> None:
    run("ip", "link", "set", web.call.name, "alias", "somebody")
    with pytest.raises(CallFailed) as caught:
        web.apply()
    assert caught.value.reason == "foreign"
    run("ip", "link", "set", web.call.name, "alias", web.call.alias)


def test_a_flush_does_not_make_the_host_a_router(world: str) -> None:
    link = link_to(world)
    with guest(2, uid=USER) as theirs:
        theirs.apply(internet=True)
        assert forwarding(link) == "1"
        run("nft", "delete", "table", "inet", f"banger_{USER}")
        theirs.apply(internet=True)
        table = run("nft", "list", "set", "inet", f"banger_{USER}", "uplinks").stdout
        assert link in table, "known to be switched on by us, whatever was flushed"
        run("nft", "delete", "table", "inet", f"banger_{USER}")
        theirs.clear()
        assert forwarding(link) == "0"


ASK = """
import socket
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.settimeout(2)
asked.sendto(b"who?", ("{address}", {port}))
print(asked.recv(99).decode())
"""


def asks(where: Guest, address: str, port: int) -> str:
    """What is answered to a datagram of a guest; empty if nothing comes."""
    argv = ("ip", "netns", "exec", where.name, "/usr/bin/python3", "-I", "-c")
    return run(*argv, ASK.format(address=address, port=port), check=False).stdout.strip()


@contextlib.contextmanager
def answering(address: str, port: int) -> Iterator[None]:
    """Answers datagrams and connections at one port of the host."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.create_server((address, port)) as stream,
    ):
        datagrams.bind((address, port))

        def answer() -> None:
            with contextlib.suppress(OSError):
                while packet := datagrams.recvfrom(99):
                    datagrams.sendto(b"me", packet[1])

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with stream.accept()[0] as connection:
                        connection.sendall(b"me")

        threads = [threading.Thread(target=each, daemon=True) for each in (answer, accept)]
        for thread in threads:
            thread.start()
        yield


def test_questions_of_guests_are_led_to_another_port(web: Guest, db: Guest) -> None:
    web.apply(dns_port=10053)
    db.apply()
    with answering(web.gateway, 10053):
        assert asks(web, web.gateway, 53) == "me"
        assert ask(web.name, web.gateway, 53) == "me"
        # Only at its own gateway, only port 53, and no other guest's questions.
        assert asks(web, web.gateway, 10053) == ""
        assert asks(web, db.gateway, 53) == ""
        assert asks(db, web.gateway, 53) == ""
        assert asks(db, web.gateway, 10053) == ""
        web.apply()
        assert asks(web, web.gateway, 53) == ""
