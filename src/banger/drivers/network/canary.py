"""Tells without root whether a user's rules are in force: they drop one packet of the user's."""

from __future__ import annotations

import socket

from banger.privileged.ruleset import CANARY

#: Any port: nobody listens at this address.
_PORT = 9


def lives() -> bool:
    """Whether a packet to ``ruleset.CANARY`` gets through: surely no table of ours is there then.

    A matter of microseconds. The kernel tells the sender of a packet that a filter drops that
    it is not permitted (EPERM); any other error tells nothing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(b"", (CANARY, _PORT))
        except OSError:
            return False
    return True
