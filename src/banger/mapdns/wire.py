"""DNS messages: a packet of anybody's in, the packet to answer with out (pure)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import dnslib

from banger.mapdns.records import DOMAIN, Record
from banger.mapdns.zone import Reply, Verdict, look_up

#: Seconds that others may keep an answer, found or not: names come and go with VMs.
TTL = 5
#: RFC 1035: what fits into UDP unless the asker says otherwise.
PLAIN_UDP = 512
#: What is never exceeded over UDP, so that no answer is fragmented.
_MAX_UDP = 1232
_HEADER = struct.Struct("!HHHHHH")
_RESPONSE, _OPCODE, _RECURSION_WANTED = 0x8000, 0x7800, 0x0100
_FORMAT_ERROR, _NOT_IMPLEMENTED, _BAD_VERSION = 1, 4, 16
_OPT, _IN, _ANY_CLASS = 41, 1, 255
#: A question comes with EDNS, perhaps a signature; a long list only costs time to read.
_MAX_ADDITIONAL = 4
#: What the parser raises for packets that are none.
_BROKEN = (dnslib.DNSError, ValueError, IndexError, KeyError, struct.error, TypeError)


def respond(packet: bytes, table: Mapping[str, Record], *, limit: int = 0) -> bytes | None:
    """The answer to ``packet``; ``None`` for what deserves none.

    ``limit`` is 0 for TCP; over UDP it is the size that an asker without EDNS accepts.
    """
    if len(packet) < _HEADER.size:
        return None
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(packet)
    if flags & _RESPONSE:
        return None  # answering answers would let two servers talk for ever
    if flags & _OPCODE:
        return _bare(number, flags, _NOT_IMPLEMENTED)
    if questions != 1 or answers or authorities or additional > _MAX_ADDITIONAL:
        return _bare(number, flags, _FORMAT_ERROR)
    try:
        return _answer(packet, table, limit)
    except _BROKEN:
        return _bare(number, flags, _FORMAT_ERROR)


def _answer(packet: bytes, table: Mapping[str, Record], limit: int) -> bytes:
    query = dnslib.DNSRecord.parse(packet)
    question = query.q
    options = [entry for entry in query.ar if entry.rtype == _OPT]
    if len(options) > 1:
        return _bare(query.header.id, 0, _FORMAT_ERROR)
    reply = _reply_to(question, table)
    response = query.reply(ra=0, aa=int(reply.verdict is not Verdict.REFUSED))
    response.header.rcode = reply.verdict.value
    response.header.tc = 0
    if options:
        limit = _with_options(response, options[0], limit)
        if options[0].edns_ver:
            return bytes(response.pack())
    _fill(response, question, reply)
    packed = bytes(response.pack())
    if limit and len(packed) > limit:
        packed = bytes(response.truncate().pack())
    return packed


def _reply_to(question: dnslib.DNSQuestion, table: Mapping[str, Record]) -> Reply:
    if question.qclass not in (_IN, _ANY_CLASS):
        return Reply(Verdict.REFUSED)
    # A dot, or anything else odd, inside a label must not look like another name.
    name = ".".join(
        label.decode("ascii") if label.isascii() and b"." not in label else label.hex()
        for label in map(bytes, question.qname.label)
    )
    return look_up(table, name, str(dnslib.QTYPE.forward.get(question.qtype, "")))


def _with_options(response: dnslib.DNSRecord, option: dnslib.EDNS0, limit: int) -> int:
    """Answer EDNS with EDNS (RFC 6891); the size that the asker accepts."""
    unknown = option.edns_ver != 0
    if unknown:
        response.header.rcode = _BAD_VERSION & 15
    response.add_ar(dnslib.EDNS0(udp_len=_MAX_UDP, ext_rcode=_BAD_VERSION >> 4 if unknown else 0))
    return min(max(option.edns_len, PLAIN_UDP), _MAX_UDP) if limit else 0


def _fill(response: dnslib.DNSRecord, question: dnslib.DNSQuestion, reply: Reply) -> None:
    for text in reply.addresses:
        data = dnslib.AAAA(text) if ":" in text else dnslib.A(text)
        kind = dnslib.QTYPE.AAAA if ":" in text else dnslib.QTYPE.A
        response.add_answer(dnslib.RR(question.qname, kind, rdata=data, ttl=TTL))
    authority = dnslib.RR(
        DOMAIN,
        dnslib.QTYPE.SOA,
        rdata=dnslib.SOA(f"ns.{DOMAIN}", f"hostmaster.{DOMAIN}", (1, 3600, 600, 86400, TTL)),
        ttl=TTL,
    )
    if reply.apex:
        response.add_answer(authority)
    elif reply.authority:
        response.add_auth(authority)


def _bare(number: int, flags: int, code: int) -> bytes:
    kept = flags & (_OPCODE | _RECURSION_WANTED)
    return _HEADER.pack(number, _RESPONSE | kept | code, 0, 0, 0, 0)
