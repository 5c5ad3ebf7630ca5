"""TAP interfaces on the real kernel, as the root side makes and removes them."""

from __future__ import annotations

import ipaddress
import json
import os
import select
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from banger import naming
from banger.drivers.network import tap
from banger.drivers.network.base import Attachment
from banger.drivers.network.tap import Tap
from banger.errors import Conflict
from banger.host.command import Command, run_blocking
from banger.host.privilege import Privilege
from banger.model.network import Forward, Lease, Reach
from banger.model.operation import Presence
from banger.privileged import execute, link_setup, netlink, tap_marks
from banger.privileged.calls import Call, CallFailed, NatClear, TapDelete, TapFacts
from tests import requirements
from tests.requirements import needs

pytestmark = needs("root", "tap")


@pytest.fixture
def vm_id() -> Iterator[str]:
    vm_id = naming.new_id()
    yield vm_id
    index = tap_marks.facts(naming.tap_name(vm_id)).index
    if index:
        netlink.delete_link(index)
    execute.perform([NatClear(naming.tap_name(vm_id), naming.tap_alias(os.getuid(), vm_id))], 0)


@pytest.fixture
def network() -> Tap:
    return Tap(Privilege(), "10.208.0.0/12", os.getuid(), ())


@pytest.fixture
def lease(network: Tap, vm_id: str) -> Lease:
    return next(network.candidates(vm_id))


def ip(*arguments: str) -> list[dict[str, object]]:
    answer = run_blocking(Command(("ip", "-json", "-details", *arguments), package="iproute2"))
    return json.loads(answer.stdout or "[]")  # type: ignore[no-any-return]


def setting(path: str) -> str:
    return (Path("/proc/sys/net") / path).read_text().strip()


async def test_a_tap_is_persistent_marked_addressed_and_quiet(
    network: Tap, lease: Lease, vm_id: str
) -> None:
    await network.attach(lease, vm_id)
    (link,) = ip("address", "show", "dev", lease.tap)
    info = link["linkinfo"]["info_data"]  # type: ignore[index]
    assert link["ifalias"] == f"banger:{os.getuid()}:{vm_id}"
    assert "UP" in link["flags"]  # type: ignore[operator]
    assert (info["type"], info["persist"], info["vnet_hdr"], info["pi"]) == (
        "tap",
        True,
        True,
        False,
    )
    assert [address["local"] for address in link["addr_info"]] == [lease.gateway]  # type: ignore[attr-defined]
    (neighbour,) = ip("neighbour", "show", "dev", lease.tap)
    assert (neighbour["dst"], neighbour["lladdr"]) == (lease.address, lease.mac)
    assert neighbour["state"] == ["PERMANENT"]
    # Without nft nothing could keep what passes within bounds, so nothing passes.
    bounded = "0" if requirements.reason("nft") else "1"
    assert setting(f"ipv4/conf/{lease.tap}/forwarding") == bounded
    if Path("/proc/sys/net/ipv6").exists():
        assert setting(f"ipv6/conf/{lease.tap}/disable_ipv6") == "1"


async def test_a_vmm_can_open_it_and_come_back(network: Tap, lease: Lease, vm_id: str) -> None:
    await network.attach(lease, vm_id)
    for _ in range(2):
        tun = os.open("/dev/net/tun", os.O_RDWR)
        ioctl(tun, 0x400454CA, struct.pack("16sH22x", lease.tap.encode(), 0x2 | 0x1000 | 0x4000))
        os.close(tun)
        (neighbour,) = ip("neighbour", "show", "dev", lease.tap)
        assert neighbour["state"] == ["PERMANENT"]
    assert network.probe(lease, vm_id) is Presence.OURS


async def test_attaching_again_mends_what_was_lost(network: Tap, lease: Lease, vm_id: str) -> None:
    await network.attach(lease, vm_id)
    index = tap_marks.facts(lease.tap).index
    run_blocking(Command(("ip", "neighbour", "flush", "dev", lease.tap, "nud", "permanent")))
    run_blocking(Command(("ip", "address", "flush", "dev", lease.tap)))
    run_blocking(Command(("ip", "link", "set", lease.tap, "down")))
    await network.attach(lease, vm_id)
    (link,) = ip("address", "show", "dev", lease.tap)
    assert [address["local"] for address in link["addr_info"]] == [lease.gateway]  # type: ignore[attr-defined]
    assert len(ip("neighbour", "show", "dev", lease.tap)) == 1
    assert tap_marks.facts(lease.tap).index == index


async def test_a_foreign_interface_is_left_alone(network: Tap, lease: Lease, vm_id: str) -> None:
    run_blocking(Command(("ip", "tuntap", "add", "dev", lease.tap, "mode", "tap")))
    index = tap_marks.facts(lease.tap).index
    assert network.probe(lease, vm_id) is Presence.FOREIGN
    with pytest.raises(Conflict) as caught:
        await network.attach(lease, vm_id)
    assert "carries no mark" in caught.value.cause
    await network.detach(lease, vm_id)
    with pytest.raises(CallFailed):
        execute.perform([TapDelete(lease.tap, f"banger:{os.getuid()}:{vm_id}")], os.getuid())
    assert tap_marks.facts(lease.tap).index == index


async def test_an_address_in_use_elsewhere_is_refused(
    network: Tap, lease: Lease, vm_id: str
) -> None:
    other = naming.new_id()
    elsewhere = next(network.candidates(other))
    await network.attach(elsewhere, other)
    try:
        clash = tap.create_call(lease, vm_id, os.getuid())
        changes = {
            "host_address": f"{elsewhere.gateway}/30",
            "guest_address": elsewhere.address,
        }
        call = clash.replaced(**changes)
        with pytest.raises(CallFailed, match="is in use") as caught:
            execute.perform([call], os.getuid())
        assert caught.value.reason == "foreign"
        assert network.probe(lease, vm_id) is Presence.ABSENT
    finally:
        await network.detach(elsewhere, other)


async def test_a_failed_set_up_leaves_no_interface(
    network: Tap, lease: Lease, vm_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = link_setup.requests

    def impossible(*arguments: Any) -> list[netlink.Message]:
        return [
            *last(*arguments)[:3],
            netlink.Message(28, netlink.REQUEST | netlink.ACK, bytes(12)),
        ]

    monkeypatch.setattr(link_setup, "requests", impossible)
    with pytest.raises(CallFailed, match=f"{lease.tap}: Invalid argument"):
        execute.perform([tap.create_call(lease, vm_id, os.getuid())], os.getuid())
    assert network.probe(lease, vm_id) is Presence.ABSENT


class AsUser(Privilege):
    """The root side as a user of the test's own has it, with a table of their own."""

    uid = 60_000 + os.getpid() % 5_000

    async def call(self, batch: Sequence[Call]) -> list[TapFacts]:
        return execute.perform(batch, self.uid)


@pytest.fixture
async def attached() -> AsyncIterator[tuple[Tap, list[Attachment]]]:
    network = Tap(AsUser(), "10.208.0.0/12", AsUser.uid, ())
    made = []
    for reach in (Reach(), Reach(internet=True, forwards=(Forward("tcp", 45_093, 22),))):
        vm_id = naming.new_id()
        lease = next(network.candidates(vm_id))
        made.append(Attachment(lease, vm_id, reach, 10_053))
        await network.attach(lease, vm_id, reach, 10_053)
    yield network, made
    for each in made:
        await network.detach(each.lease, each.vm_id)


def nft(*arguments: str) -> bytes:
    return run_blocking(Command(("nft", *arguments), package="nftables")).stdout


LOSSES = {
    "the table is flushed": "nft delete table inet {table}",
    "a set is emptied": "nft flush set inet {table} internet",
    "the address is deleted": "ip address flush dev {tap}",
    "the interface is down": "ip link set {tap} down",
    "forwarding is off": "sysctl -q net.ipv4.conf.{tap}.forwarding=0",
}


@needs("nft")
@pytest.mark.parametrize("loss", LOSSES)
async def test_what_others_take_is_seen_and_put_back(
    attached: tuple[Tap, list[Attachment]], loss: str
) -> None:
    network, (closed, opened) = attached
    assert await network.astray([closed, opened]) == []
    table = f"banger_{AsUser.uid}"
    before = nft("list", "table", "inet", table)
    command = LOSSES[loss].format(table=table, tap=opened.lease.tap)
    run_blocking(Command(tuple(command.split()), package="nftables"))
    found = await network.astray([closed, opened])
    assert opened.vm_id in found
    assert (closed.vm_id in found) is ("delete table" in command)
    for each in (closed, opened):
        if each.vm_id in found:
            await network.restore(each)
    assert await network.astray([closed, opened]) == []
    assert nft("list", "table", "inet", table) == before
    assert setting(f"ipv4/conf/{opened.lease.tap}/forwarding") == "1"
    assert len(ip("neighbour", "show", "dev", opened.lease.tap)) == 1


async def test_an_interface_that_is_gone_is_not_made_again(
    attached: tuple[Tap, list[Attachment]],
) -> None:
    network, (closed, _) = attached
    netlink.delete_link(tap_marks.facts(closed.lease.tap).index)
    assert await network.astray([closed]) == [closed.vm_id]
    with pytest.raises(CallFailed, match="there is no interface"):
        await network.restore(closed)
    assert network.probe(closed.lease, closed.vm_id) is Presence.ABSENT


def test_deleting_an_interface_that_is_gone_is_no_error() -> None:
    netlink.delete_link(2**30)


def as_user_of(uid: int, code: str) -> str:
    """What Python says that runs ``code`` as this user of the host."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, user=uid, group=uid, capture_output=True, text=True, check=True)
    return done.stdout.strip()


LOOK = (
    f"import sys; sys.path[:0] = {sys.path!r}\n"
    "from banger.drivers.network.canary import lives; print(lives())"
)


@needs("nft")
async def test_a_user_sees_without_root_that_the_rules_are_gone(
    attached: tuple[Tap, list[Attachment]],
) -> None:
    network, (closed, opened) = attached
    assert as_user_of(AsUser.uid, LOOK) == "False"
    assert as_user_of(AsUser.uid + 1, LOOK) == "True", "another user's packets are not dropped"
    nft("delete", "table", "inet", f"banger_{AsUser.uid}")
    assert as_user_of(AsUser.uid, LOOK) == "True"
    for each in (closed, opened):
        await network.restore(each)
    assert as_user_of(AsUser.uid, LOOK) == "False"


#: A name server of one question: says what it was asked, and whether it could answer.
NAME_SERVER = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(({gateway!r}, 10053))
    print("ready", flush=True)
    question, guest = server.recvfrom(100)
    try:
        server.sendto(b"answer to " + question, guest)
    except OSError as error:
        print(error.strerror)
    else:
        print("answered")
"""


def question(lease: Lease, frame_to: str) -> bytes:
    """A frame of the guest's, with a datagram to port 53 of its gateway (RFC 791, RFC 768)."""
    ends = ipaddress.IPv4Address(lease.address).packed + ipaddress.IPv4Address(lease.gateway).packed
    datagram = struct.pack("!HHHH", 40_000, 53, 8 + 4, 0) + b"who?"
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0) + ends
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", 0xFFFF - total) + head[12:]
    macs = bytes.fromhex((frame_to + lease.mac).replace(":", ""))
    return bytes(10) + macs + b"\x08\x00" + head + datagram


@needs("nft")
@pytest.mark.parametrize(("whose", "outcome"), [(0, "answered"), (1, "Operation not permitted")])
async def test_only_the_users_own_process_answers_questions_for_names(
    attached: tuple[Tap, list[Attachment]], whose: int, outcome: str
) -> None:
    """The port they are led to is one on which anybody may listen while no daemon does."""
    _, (closed, _) = attached
    said, answered = asked_and_answered(closed.lease, AsUser.uid + whose)
    assert (said, answered) == (outcome, outcome == "answered")


def asked_and_answered(lease: Lease, uid: int) -> tuple[str, bool]:
    """What a name server of this user's says, and whether its answer reaches the guest."""
    code = NAME_SERVER.format(gateway=lease.gateway)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        ioctl(tun, 0x400454CA, struct.pack("16sH22x", lease.tap.encode(), 0x2 | 0x1000 | 0x4000))
        with subprocess.Popen(
            [sys.executable, "-c", code], user=uid, group=uid, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            address = Path(f"/sys/class/net/{lease.tap}/address").read_text().strip()
            os.write(tun, question(lease, address))
            said, _ = server.communicate(timeout=20)
        answers = []
        while select.select([tun], [], [], 0)[0]:
            answers.append(os.read(tun, 2000))
        return said.strip(), any(frame.endswith(b"answer to who?") for frame in answers)
    finally:
        os.close(tun)
