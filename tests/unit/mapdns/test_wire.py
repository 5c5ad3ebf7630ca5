"""Every packet gets the right answer, or none, and nothing outside ``.vm`` is ever told."""

from __future__ import annotations

import struct

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.mapdns.records import Record
from banger.mapdns.wire import PLAIN_UDP, respond

TABLE = {
    "web.vm": Record(("10.208.0.2", "fd00::2")),
    "four.vm": Record(("10.208.0.6",)),
}


def ask(name: str, kind: str = "A", **options: object) -> dnslib.DNSRecord:
    query = dnslib.DNSRecord.question(name, kind)
    if options:
        query.add_ar(dnslib.EDNS0(**options))
    answer = respond(query.pack(), TABLE, limit=PLAIN_UDP)
    assert answer is not None
    parsed = dnslib.DNSRecord.parse(answer)
    assert parsed.header.id == query.header.id
    assert (parsed.header.qr, parsed.header.ra) == (1, 0)
    return parsed


def addresses(answer: dnslib.DNSRecord) -> list[str]:
    return [str(entry.rdata) for entry in answer.rr]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.vm", "A", ["10.208.0.2"]),
        ("WeB.Vm", "A", ["10.208.0.2"]),
        ("web.vm", "AAAA", ["fd00::2"]),
        ("web.vm", "ANY", ["10.208.0.2", "fd00::2"]),
    ],
)
def test_addresses_are_found(name: str, kind: str, expected: list[str]) -> None:
    answer = ask(name, kind)
    assert (answer.header.rcode, answer.header.aa) == (0, 1)
    assert addresses(answer) == expected
    assert str(answer.q.qname) == f"{name}."
    assert {entry.ttl for entry in answer.rr} == {5}


@pytest.mark.parametrize(("name", "kind"), [("four.vm", "AAAA"), ("web.vm", "MX"), ("vm", "A")])
def test_no_data_is_not_absence(name: str, kind: str) -> None:
    answer = ask(name, kind)
    assert (answer.header.rcode, answer.rr) == (0, [])
    assert [entry.rtype for entry in answer.auth] == [dnslib.QTYPE.SOA]


@pytest.mark.parametrize("name", ["other.vm", "a.web.vm", "xn--web.vm"])
def test_an_unknown_name_does_not_exist(name: str) -> None:
    answer = ask(name)
    assert (answer.header.rcode, answer.header.aa) == (3, 1)
    assert answer.auth[0].rdata.times[4] == 5


@pytest.mark.parametrize(
    "name", ["example.org", ".", "webvm", "web.vm.org", "2.0.208.10.in-addr.arpa"]
)
def test_the_rest_of_the_world_is_refused(name: str) -> None:
    answer = ask(name)
    assert (answer.header.rcode, answer.header.aa) == (5, 0)
    assert (answer.rr, answer.auth) == ([], [])


def test_the_zone_names_itself() -> None:
    assert [entry.rtype for entry in ask("vm", "SOA").rr] == [dnslib.QTYPE.SOA]


def test_a_dot_inside_a_label_makes_no_other_name() -> None:
    for qname in (
        b"\x06web.vm\0",
        b"\x03web\x02v.\0",
        b"\x06web.vm\x02vm\0",
        b"\x03w\xe9b\x02vm\0",
    ):
        packet = struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + qname + b"\0\1\0\1"
        answer = respond(packet, TABLE)
        assert answer is not None
        assert dnslib.DNSRecord.parse(answer).header.rcode in (1, 3, 5)


def test_edns_is_answered_with_edns() -> None:
    (option,) = ask("web.vm", udp_len=4096).ar
    assert option.edns_len == 1232
    bad = ask("web.vm", version=1)
    assert (bad.header.rcode, bad.ar[0].edns_rcode, bad.rr) == (0, 1, [])


def test_what_does_not_fit_is_cut_over_udp_only() -> None:
    many = {"web.vm": Record(tuple(f"fd00::{n}" for n in range(1, 9)))}
    query = dnslib.DNSRecord.question("web.vm", "AAAA").pack()
    cut = dnslib.DNSRecord.parse(respond(query, many, limit=100) or b"")
    assert (cut.header.tc, cut.rr) == (1, [])
    whole = dnslib.DNSRecord.parse(respond(query, many) or b"")
    assert (whole.header.tc, len(whole.rr)) == (0, 8)
    assert len(respond(query, many) or b"") <= PLAIN_UDP


def header(flags: int = 0, *counts: int) -> bytes:
    return struct.pack("!HHHHHH", 0x1234, flags, *(counts or (1, 0, 0, 0)))


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (header(), 1),
        (header(0, 0, 0, 0, 0), 1),
        (header(0, 2, 0, 0, 0), 1),
        (header(0, 1, 0, 0, 65535), 1),
        (header() + b"\xc0\x0c\0\1\0\1", 1),
        (header() + b"\x3fweb", 1),
        (header(0x2800), 4),
    ],
)
def test_broken_questions_get_a_bare_header(packet: bytes, code: int) -> None:
    answer = respond(packet, TABLE)
    assert answer is not None
    assert len(answer) == 12
    assert answer[:2] == b"\x12\x34"
    assert answer[3] & 15 == code


@pytest.mark.parametrize("packet", [b"", b"\0" * 11, header(0x8000), header(0x8180) + b"x"])
def test_what_is_no_question_gets_no_answer(packet: bytes) -> None:
    assert respond(packet, TABLE) is None


QUERY = bytes(dnslib.DNSRecord.question("web.vm").pack())


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A real query with some bytes changed and the end cut or grown."""
    packet = bytearray(QUERY)
    for place in draw(st.lists(st.integers(0, len(packet) - 1), max_size=6)):
        packet[place] = draw(st.integers(0, 255))
    return bytes(packet[: draw(st.integers(0, len(packet)))]) + draw(st.binary(max_size=64))


@given(st.binary(max_size=600) | st.binary(max_size=64).map(lambda b: header() + b) | spoilt())
def test_hostile_packets(packet: bytes) -> None:
    answer = respond(packet, TABLE, limit=PLAIN_UDP)
    if answer is None:
        return
    assert answer[:2] == packet[:2]
    assert answer[2] & 0x80
    # An answer is never worth forging a sender for.
    assert len(answer) <= min(PLAIN_UDP, len(packet) + 200)
    dnslib.DNSRecord.parse(answer)
