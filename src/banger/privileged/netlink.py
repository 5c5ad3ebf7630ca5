"""Deletes an interface by its index, which no other interface can come to have meanwhile."""

from __future__ import annotations

import errno
import os
import socket
import struct

#: linux/netlink.h and linux/rtnetlink.h.
_RTM_DELLINK = 17
_NLMSG_ERROR = 2
_REQUEST_ACK = 0x1 | 0x4
_HEADER = struct.Struct("=LHHLL")
_LINK = struct.Struct("=BxHiLL")
_ERROR = struct.Struct("=i")
_GONE = (errno.ENODEV, errno.ENOENT)


def delete_request(index: int) -> bytes:
    """The message that asks the kernel to delete the interface ``index``."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), _RTM_DELLINK, _REQUEST_ACK, 1, 0) + body


def error_number(reply: bytes) -> int:
    """The (positive) error number in the kernel's answer; 0 means done.

    Raises ``OSError`` for a message of another form.
    """
    if len(reply) < _HEADER.size + _ERROR.size or _HEADER.unpack_from(reply)[1] != _NLMSG_ERROR:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    return int(-_ERROR.unpack_from(reply, _HEADER.size)[0])


def delete_link(index: int) -> None:
    """Delete the interface; one that is gone already is no error. Raises ``OSError``."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(10)
        kernel.sendto(delete_request(index), (0, 0))
        number = error_number(kernel.recv(65536))
    if number and number not in _GONE:
        raise OSError(number, os.strerror(number))
