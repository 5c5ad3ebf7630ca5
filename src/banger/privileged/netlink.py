"""Speaks netlink to the kernel: messages, their attributes, acknowledgements and dumps."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType

from banger.privileged.frozen import Frozen

#: linux/netlink.h and linux/rtnetlink.h.
REQUEST, ACK, REPLACE, CREATE = 0x1, 0x4, 0x100, 0x400
_DUMP, _DUMP_INTERRUPTED = 0x300, 0x10
_ERROR_TYPE, _DONE_TYPE = 2, 3
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_RTM_DELLINK = 17
_HEADER = struct.Struct("=LHHLL")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiLL")
_NUMBER = struct.Struct("=i")
_GONE = (errno.ENODEV, errno.ENOENT)
#: Seconds that the kernel may take to answer, and bytes that it answers at once.
_TIMEOUT, _CHUNK = 10, 65536


class Interrupted(OSError):
    """What was being listed changed meanwhile."""


class Message(Frozen):
    """One message: its kind and flags, and what follows the header."""

    kind: int
    flags: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded as the next one needs it."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in ``data``. Raises ``OSError`` where they are cut short."""
    while data:
        length, kind = _ATTRIBUTE.unpack_from(data) if len(data) >= _ATTRIBUTE.size else (0, 0)
        if not _ATTRIBUTE.size <= length <= len(data):
            raise _malformed()
        yield kind & _TYPE_MASK, data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]


def rendered(message: Message, sequence: int) -> bytes:
    """The message as the kernel takes it."""
    length = _HEADER.size + len(message.body)
    return _HEADER.pack(length, message.kind, message.flags, sequence, 0) + message.body


def messages(data: bytes) -> Iterator[Message]:
    """The messages in one answer of the kernel. Raises ``OSError`` where it is cut short."""
    while data:
        length, kind, flags, _, _ = (
            _HEADER.unpack_from(data) if len(data) >= _HEADER.size else (0, 0, 0, 0, 0)
        )
        if not _HEADER.size <= length <= len(data):
            raise _malformed()
        yield Message(kind, flags, data[_HEADER.size : length])
        data = data[length + -length % 4 :]


def error_number(message: Message) -> int:
    """The (positive) error number that the kernel answers with; 0 means done.

    Raises ``OSError`` for a message of another form.
    """
    if message.kind not in (_ERROR_TYPE, _DONE_TYPE) or len(message.body) < _NUMBER.size:
        raise _malformed()
    return int(-_NUMBER.unpack_from(message.body)[0])


class Kernel:
    """A socket to one part of the kernel (``socket.NETLINK_ROUTE`` and so on)."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.settimeout(_TIMEOUT)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def do(self, wanted: Sequence[Message]) -> None:
        """Send all messages at once and wait for the answer to each that asks for one.

        Raises ``OSError`` with the first error. What the kernel does as a whole, as
        nftables' batches, has then not been done.
        """
        parts = (rendered(message, number) for number, message in enumerate(wanted, 1))
        self._socket.sendto(b"".join(parts), (0, 0))
        missing = sum(bool(message.flags & ACK) for message in wanted)
        while missing > 0:
            for reply in messages(self._socket.recv(_CHUNK)):
                _raise(error_number(reply))
                missing -= 1

    def ask(self, kind: int, body: bytes) -> Message:
        """The one message that the kernel answers with. Raises ``OSError``."""
        self._socket.sendto(rendered(Message(kind, REQUEST, body), 1), (0, 0))
        for reply in messages(self._socket.recv(_CHUNK)):
            if reply.kind == _ERROR_TYPE:
                _raise(error_number(reply))
            return reply
        raise _malformed()

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """Everything that the kernel lists. Raises ``OSError``, or ``Interrupted``."""
        request = Message(kind, REQUEST | _DUMP, body)
        self._socket.sendto(rendered(request, 1), (0, 0))
        found: list[Message] = []
        interrupted = False
        while True:
            for reply in messages(self._socket.recv(_CHUNK)):
                interrupted = interrupted or bool(reply.flags & _DUMP_INTERRUPTED)
                if reply.kind in (_ERROR_TYPE, _DONE_TYPE):
                    _raise(error_number(reply))
                    if interrupted:
                        raise Interrupted(errno.EINTR, os.strerror(errno.EINTR))
                    return found
                found.append(reply)


def delete_request(index: int) -> Message:
    """The message that asks the kernel to delete the interface ``index``."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    return Message(_RTM_DELLINK, REQUEST | ACK, body)


def delete_link(index: int) -> None:
    """Delete the interface, by its index, which no other can come to have meanwhile.

    One that is gone already is no error. Raises ``OSError``.
    """
    try:
        with Kernel(socket.NETLINK_ROUTE) as kernel:
            kernel.do([delete_request(index)])
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _raise(number: int) -> None:
    if number:
        raise OSError(number, os.strerror(number))


def _malformed() -> OSError:
    return OSError(errno.EPROTO, os.strerror(errno.EPROTO))
