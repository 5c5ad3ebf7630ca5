"""Messages of netlink as bytes, and what a set-up and a change of sets are made of."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from ipaddress import IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.privileged import link_setup, netlink, ruleset, set_elements, set_kernel
from banger.privileged.netlink import Message
from banger.privileged.ruleset import Change

TAP = "bgr0123456789ab"
_PARTS = {
    "ifname": st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True),
    "ether_addr": st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":")),
    "ipv4_addr": st.ip_addresses(v=4).map(str),
    "inet_proto": st.sampled_from(["tcp", "udp"]),
    "inet_service": st.integers(0, 65535).map(str),
}


def test_the_delete_request() -> None:
    request = netlink.rendered(netlink.delete_request(7), 1)
    length, kind, flags, sequence, _ = struct.unpack_from("=LHHLL", request)
    family, index = struct.unpack_from("=Bxxxi", request, 16)
    assert (length, kind, flags, sequence) == (32, 17, 5, 1)
    assert (family, index) == (socket.AF_UNSPEC, 7)


def test_answers_of_the_kernel() -> None:
    def answer(number: int) -> bytes:
        return netlink.rendered(Message(2, 0, struct.pack("=i", -number) + bytes(16)), 1)

    done, refused = netlink.messages(answer(0) + answer(errno.EPERM))
    assert netlink.error_number(done) == 0
    assert netlink.error_number(refused) == errno.EPERM
    with pytest.raises(OSError, match="Protocol error"):
        netlink.error_number(Message(16, 0, bytes(8)))


@given(st.binary(max_size=80))
def test_an_odd_answer_is_an_error_and_no_endless_loop(data: bytes) -> None:
    for read in (netlink.messages, netlink.attributes):
        with contextlib.suppress(OSError):
            list(read(data))


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=9))))
def test_attributes_are_read_back(pairs: list[tuple[int, bytes]]) -> None:
    written = b"".join(netlink.attribute(kind, value) for kind, value in pairs)
    assert list(netlink.attributes(written)) == pairs
    assert list(netlink.attributes(netlink.nested(5, written))) == [(5, written)]


def test_an_interface_is_marked_before_it_goes_up_and_its_neighbour_comes_last() -> None:
    host = IPv4Interface("10.208.4.1/30")
    wanted = link_setup.requests(9, "banger:0:1", host, "10.208.4.2", "02:11:22:33:44:55")
    marked, addressed, raised, neighbour = wanted
    assert [message.kind for message in wanted] == [16, 20, 16, 28]
    assert list(netlink.attributes(marked.body[16:])) == [(20, b"banger:0:1")]
    assert struct.unpack_from("=BxHiLL", marked.body) == (0, 0, 9, 0, 0)
    assert addressed.body[:8] == struct.pack("=BBBBL", socket.AF_INET, 30, 0, 0, 9)
    assert dict(netlink.attributes(addressed.body[8:]))[2] == host.ip.packed
    assert struct.unpack_from("=BxHiLL", raised.body) == (0, 0, 9, 1, 1)
    assert dict(netlink.attributes(neighbour.body[12:])) == {
        1: socket.inet_aton("10.208.4.2"),
        2: bytes.fromhex("021122334455"),
    }


@given(st.data(), st.lists(st.sampled_from(sorted(_PARTS)), min_size=1, max_size=3))
def test_keys_of_sets_are_read_back(data: st.DataObject, types: list[str]) -> None:
    parts = tuple(data.draw(_PARTS[kind]) for kind in types)
    raw = set_elements.encode(tuple(types), parts)
    assert len(raw) % 4 == 0
    assert set_elements.decode(tuple(types), raw) == parts


def test_a_key_of_another_form_is_none_of_ours() -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        set_elements.decode(("ifname",), bytes(20))


def test_all_changes_go_in_one_batch_and_each_is_answered() -> None:
    changes = [
        Change("forwards", adds=False, elements={("tcp", "80"): ("10.0.0.2", "8080")}),
        Change("taps", adds=True, elements={(TAP,): ()}),
    ]
    first, gone, come, last = set_kernel.batch("banger_0", changes, ruleset.SETS)
    assert (first.kind, gone.kind, come.kind, last.kind) == (0x10, 0xA0E, 0xA0C, 0x11)
    assert [bool(m.flags & netlink.ACK) for m in (first, gone, come, last)] == [0, 1, 1, 0]
    told = dict(netlink.attributes(come.body[4:]))
    assert (told[1], told[2]) == (b"banger_0\0", b"taps\0")
    ((kind, element),) = netlink.attributes(told[3])
    assert (kind, TAP.encode() in element) == (1, True)
    # What a map led to is not said when its key goes.
    elements = dict(netlink.attributes(gone.body[4:]))[3]
    assert socket.inet_aton("10.0.0.2") not in elements
