"""``banger tui`` with 1,000 VMs: first paint, a key to its paint, the load at 1 Hz, memory."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import tempfile
import termios
import threading
import time
from pathlib import Path

from bench.measure import Goal, Sample, figure, report
from tests.fakes.daemon import FakeDaemon
from tests.fakes.daemon_server import Server
from tests.plugins.home import Home, program

VMS = 1000
ROWS, COLUMNS = 40, 120
#: Seconds in which nothing more is drawn, after which the screen counts as painted.
_STILL = 0.25
#: Seconds over which the load is measured, and the keys that are timed.
_LOAD_TIME = 10.0
_KEYS = 20


class Terminal:
    """The real program on a pseudo terminal of its own."""

    def __init__(self, home: Home) -> None:
        self.began = time.monotonic()
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            environment = home.environment | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            argv = [*program(), "tui"]
            os.execve(argv[0], argv, environment)
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)
        self.output = b""

    def read(self, seconds: float) -> bytes:
        """What is drawn within that time; b"" for nothing."""
        ready = select.select([self.descriptor], [], [], seconds)[0]
        piece = os.read(self.descriptor, 65536) if ready else b""
        self.output += piece
        return piece

    def until(self, text: bytes, seconds: float = 30.0) -> float:
        """Seconds since the start until ``text`` is drawn."""
        while text not in self.output:
            if time.monotonic() - self.began > seconds:
                raise SystemExit(f"{text!r} was not drawn:\n{self.output[-2000:]!r}")
            self.read(1.0)
        return time.monotonic() - self.began

    def still(self) -> None:
        """Wait until nothing is drawn for a while."""
        while self.read(_STILL):
            pass

    def key(self, key: bytes) -> float:
        """Seconds from a key until the first of what it draws."""
        self.still()
        began = time.monotonic()
        os.write(self.descriptor, key)
        if not self.read(5.0):
            raise SystemExit(f"the key {key!r} draws nothing")
        return time.monotonic() - began

    def processor_seconds(self) -> float:
        """Time of all processors that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(
            int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS")
        )

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.descriptor)


def run(rounds: int) -> list[str]:
    """The figures of the screen with 1,000 VMs that all run and all use something."""
    home = Home(Path(tempfile.mkdtemp(prefix="bgr-")))
    fake = FakeDaemon(home.paths.socket)
    fake.events_live = True
    for number in range(VMS):
        fake.add_vm(f"vm-{number:04}", state="running")
    home.paths.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    server = Server(fake)
    first: list[float] = []
    keys: list[float] = []
    loads: list[float] = []
    memory: list[float] = []
    try:
        for number in range(rounds):
            terminal = Terminal(home)
            try:
                first.append(terminal.until(b"vm-0000"))
                terminal.until(b"live")
                if number == 0:
                    keys = [terminal.key(b"j" if n % 2 else b"k") for n in range(_KEYS + 2)][2:]
                    loads.append(_load(terminal))
                memory.append(terminal.resident() / (1 << 20))
            finally:
                terminal.end()
    finally:
        fake.events_live = False
        server.end()
        home.clear()
    samples = [
        Sample("first paint, 1000 VMs", tuple(first)),
        Sample("key to paint", tuple(keys)),
    ]
    lines = report("tui", samples, {"first paint, 1000 VMs": Goal(700), "key to paint": Goal(50)})
    return [
        *lines,
        figure("share of a core at 1 Hz", loads[0] * 100, Goal(5, unit="%")),
        figure("memory", statistics.median(memory), Goal(80, unit="MiB")),
    ]


def _load(terminal: Terminal) -> float:
    """The share of a core while every VM's figures change once a second."""
    drained = threading.Event()

    def drain() -> None:
        while not drained.is_set():
            terminal.read(0.1)

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    before, began = terminal.processor_seconds(), time.monotonic()
    time.sleep(_LOAD_TIME)
    used = terminal.processor_seconds() - before
    seconds = time.monotonic() - began
    drained.set()
    thread.join()
    return used / seconds
