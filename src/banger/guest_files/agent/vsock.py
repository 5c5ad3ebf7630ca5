"""The agent's end of a vsock: a socket on which only the host may connect.

Of the module ``socket`` its C half is enough; the rest is slow to import.
"""

from __future__ import annotations

import os

socket = __import__("_socket")

#: Below 1024, so that no ordinary user of the guest can take it. The host's side knows it as
#: ``AGENT_VSOCK_PORT`` (``drivers/guest/agent_dial.py``).
PORT = 1023
#: linux/vm_sockets.h.
_ANY_CID, _HOST_CID = 0xFFFFFFFF, 2
_BACKLOG = 8


def is_there() -> bool:
    """Whether the machine is said to have a vsock (init has then loaded its driver)."""
    with open("/proc/cmdline", encoding="ascii", errors="replace") as file:
        return "banger.vsock=1" in file.read().split()


class Listener:
    """A listening socket. ``trusted`` is the one CID that is served, ``None`` for any caller.

    Programs of the guest can connect as well (by the loopback of vsock), and must not get root.
    """

    def __init__(self, fd: int, trusted: int | None = _HOST_CID) -> None:
        self.fd = fd
        self._trusted = trusted
        self.socket = socket.socket(fileno=fd)
        self.socket.setblocking(False)

    def accept(self) -> int:
        """The descriptor of a new connection; -1 if there is none for us."""
        try:
            # What socket.accept is made of: a descriptor that is not inherited, and who calls.
            connection, caller = self.socket._accept()  # noqa: SLF001
        except OSError:
            return -1
        if self._trusted is not None and caller[0] != self._trusted:
            os.close(connection)
            return -1
        return int(connection)


def listen() -> Listener:
    """Listen for the host. Without a vsock after all the process ends, as with no port."""
    try:
        made = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        made.bind((_ANY_CID, PORT))
        made.listen(_BACKLOG)
    except (OSError, AttributeError) as error:
        print(f"there is no vsock: {error}")
        raise SystemExit(0) from error
    return Listener(made.detach())
