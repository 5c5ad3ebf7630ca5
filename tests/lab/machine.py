"""The lab host as a QEMU machine: its command line, its process and its monitor."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = "6G"
#: Bytes of the drive that is given: a guest image before the save, a source tree in each session.
#: A saved state knows the size, so it is the same for all.
GIVEN_SIZE = 1 << 30
#: Seconds that pass in the lab host while one passes here. Two timers of 250 Hz, its own and that
#: of a guest, cost three exits of a guest for each tick, and an exit takes the emulated SVM most of
#: a millisecond: at our speed they took half of the time that a guest had. A slow clock for a slow
#: machine, which is still slower than its own seconds tell.
SPEED = 0.25
#: Of Debian's package ``faketime``; what QEMU asks for the time.
CLOCK = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
#: What that library leaves behind for each process.
_CLOCK_FILES = ("/dev/shm/faketime_shm_{}", "/dev/shm/sem.faketime_sem_{}")
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=3 init=/init net.ifnames=0 mitigations=off"
    " random.trust_cpu=on oops=panic panic=-1 transparent_hugepage=always"
)


def _one_cpu() -> tuple[str, ...]:
    """The command in front of QEMU that holds it on one processor, another for each test process.

    QEMU's emulated SVM changes ``interrupt_request`` of a CPU without a lock (``helper_vmrun``,
    ``do_vmexit``), while its other threads set bits there under one. When two of them do so at the
    same moment, an interrupt is lost or a virtual one is made up: every other session the lab host
    or a guest in it hung or died. Each change is one instruction, so on one processor there is no
    such moment, and no such session was seen.
    """
    processors = sorted(os.sched_getaffinity(0), reverse=True)
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return "taskset", "--cpu-list", str(processors[number % len(processors)])


@dataclass(frozen=True, slots=True)
class Files:
    """What a machine is made of. ``folder`` is its own, and short: sockets lie in it."""

    root: Path
    memory: Path
    given: Path
    folder: Path

    @property
    def control(self) -> Path:
        return self.folder / "control"

    @property
    def monitor(self) -> Path:
        return self.folder / "monitor"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"


def _environment() -> dict[str, str]:
    """QEMU's environment, with the slow clock. Raises ``RuntimeError`` if that is not installed."""
    if not CLOCK.is_file():
        raise RuntimeError(f"{CLOCK} is missing: apt-get install faketime")
    return os.environ | {"LD_PRELOAD": str(CLOCK), "FAKETIME": f"+0 x{SPEED}"}


def argv(files: Files, *, shared: bool, incoming: bool) -> list[str]:
    """The command line. Saved and restored machines must have the same devices in one order.

    ``shared`` writes the memory into its file, else the file stays as it is.
    """

    def drive(path: Path) -> tuple[str, str]:
        options = "format=raw,if=virtio,readonly=on,cache=unsafe,file.locking=off"
        return "-drive", f"file={path},{options}"

    memory = f"memory-backend-file,id=m,size={MEMORY},mem-path={files.memory}"
    return [
        *_one_cpu(),
        # A fifth level of page tables would only make each walk longer.
        *("qemu-system-x86_64", "-M", "q35,memory-backend=m", "-cpu", "max,+svm,-la57"),
        # Room for little translated code: a guest's memory has been another's, and each first write
        # to a page of which code is left costs dearly. A start took 32 s with 1536, 26 s with 256,
        # 18 s with 96 and 28 s with 32 (medians of four).
        *("-accel", "tcg,thread=multi,tb-size=96", "-smp", "1", "-m", MEMORY),
        *("-object", f"{memory},share={'on' if shared else 'off'}"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(files.root / "vmlinuz"), "-initrd", str(files.root / "initrd.cpio")),
        *("-append", KERNEL_ARGUMENTS, "-serial", f"file:{files.console}"),
        *("-chardev", f"socket,id=ctl,path={files.control},server=on,wait=off"),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=ctl,name=labctl"),
        *("-qmp", f"unix:{files.monitor},server=on,wait=off"),
        *("-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r"),
        *drive(files.root / "root.ext4"),
        *drive(files.given),
        *(("-incoming", "defer") if incoming else ()),
    ]


class Machine:
    """One QEMU process. ``end`` must be called."""

    def __init__(self, files: Files, *, shared: bool, incoming: bool) -> None:
        self.files = files
        self.errors = (files.folder / "qemu.log").open("wb")
        self.process = subprocess.Popen(
            argv(files, shared=shared, incoming=incoming),
            stdin=subprocess.DEVNULL,
            stdout=self.errors,
            stderr=self.errors,
            env=_environment(),
        )
        try:
            self._monitor = self._connect(files.monitor)
            self._lines = self._monitor.makefile("rb")
            json.loads(self._lines.readline())  # the greeting
            self.command("qmp_capabilities")
        except BaseException:
            self.end()
            raise

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + 30
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(60)
                connection.connect(str(path))
            except OSError:
                connection.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"QEMU did not start: {self.last_words()}") from None
                time.sleep(0.02)
            else:
                return connection

    def connect_control(self) -> socket.socket:
        """The socket that leads to the agent."""
        return self._connect(self.files.control)

    def command(self, execute: str, **arguments: Any) -> Any:
        """One command of QMP and its result. Raises ``RuntimeError``."""
        request = {"execute": execute, "arguments": arguments}
        self._monitor.sendall(json.dumps(request).encode() + b"\n")
        while line := self._lines.readline():
            reply = json.loads(line)
            if "error" in reply:
                raise RuntimeError(f"QEMU refuses {execute}: {reply['error']}")
            if "return" in reply:
                return reply["return"]
        raise RuntimeError(f"QEMU ended during {execute}: {self.last_words()}")

    def migrate(self, how: str, uri: str) -> None:
        """Save (``migrate``) or load (``migrate-incoming``) all but the memory, and wait."""
        capability = {"capability": "x-ignore-shared", "state": True}
        self.command("migrate-set-capabilities", capabilities=[capability])
        self.command(how, uri=uri)
        deadline = time.monotonic() + 180
        while (status := self.command("query-migrate").get("status")) != "completed":
            if status == "failed" or time.monotonic() > deadline:
                raise RuntimeError(f"{how} is {status}: {self.last_words()}")
            time.sleep(0.02)

    def last_words(self) -> str:
        """The end of what QEMU and the lab host's console said."""
        texts = []
        for path in (self.files.folder / "qemu.log", self.files.console):
            if path.exists():
                texts.append(path.read_bytes()[-2000:].decode(errors="replace"))
        return "\n".join(texts).strip()

    def end(self) -> None:
        """No clean end is needed: nothing outside changes."""
        self.process.kill()
        self.process.wait()
        for name in _CLOCK_FILES:
            Path(name.format(self.process.pid)).unlink(missing_ok=True)
        self.errors.close()
        for name in ("_lines", "_monitor"):
            with contextlib.suppress(AttributeError, OSError):
                getattr(self, name).close()
