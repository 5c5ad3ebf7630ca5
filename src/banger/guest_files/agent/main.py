"""banger's agent: runs in a guest and serves its host over one port.

Standard library only, Python 3.9 or newer; the messages are described by the host's side,
``drivers/guest/agent_protocol.py``.
"""

from __future__ import annotations

import os
import sys
import time

from . import command, vsock
from .listening import ListeningAgent
from .loop import Agent
from .port import Port

PORT_NAME = "banger.0"
#: What an image that was imported says of its environment: NAME=VALUE with zero bytes between.
ENVIRONMENT = "/.banger/environment"
#: Commands of a busybox, for where an image lacks them; only in guests of such images.
TOOLS = "/run/banger/bin"


def open_port() -> int:
    """The descriptor of our port, found by its name: udev's links may not exist."""
    folder = "/sys/class/virtio-ports"
    for _ in range(200):
        for device in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            with open(f"{folder}/{device}/name", encoding="ascii", errors="replace") as file:
                if file.read().strip() == PORT_NAME:
                    return os.open(f"/dev/{device}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        time.sleep(0.01)
    # Not a failure: this VMM has none, and systemd need not try again.
    print(f"there is no port {PORT_NAME}")
    raise SystemExit(0)


def take_environment(path: str, tools: str) -> None:
    """Let commands have the environment of an imported image, and other tools if it has none."""
    lines: list[bytes] = []
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\0")
    except OSError:
        pass
    for line in lines:
        name, equals, value = line.partition(b"=")
        if name and equals:
            command.DEFAULT_ENV[os.fsdecode(name)] = os.fsdecode(value)
    if os.path.isdir(tools):
        command.DEFAULT_ENV["PATH"] += f":{tools}"


def main() -> None:
    """Serve the vsock or virtio port that the machine has.

    With an argument, for trials: ``main.py FD`` serves an open socket until it closes, and
    ``main.py listen FD`` whoever connects to it.
    """
    os.chdir("/")
    take_environment(ENVIRONMENT, TOOLS)
    words = sys.argv[1:]
    given = int(words[-1]) if words else -1
    if given >= 0:
        os.set_inheritable(given, False)
    if words[:1] == ["listen"]:
        ListeningAgent(vsock.Listener(given, trusted=None)).run()
    elif given >= 0:
        Agent(Port(given), reconnects=False).run()
    elif vsock.is_there():
        ListeningAgent(vsock.listen()).run()
    else:
        Agent(Port(open_port()), reconnects=True).run()
