"""The agent's loop: one port, the commands it runs for the host, and one poll for all of them.

No command waits for another, and while no host is connected the process sleeps.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time
from _collections_abc import Callable, Iterator

from . import machine
from .command import Command
from .port import QUEUE_LIMIT, Message, Port

#: What the module ``signal`` wraps into enums, which takes a tenth of the agent's start.
signal = __import__("_signal")

VERSION = 1
#: Seconds from SIGHUP to SIGKILL for a command that nobody waits for any more.
GRACE = 5.0
#: Seconds for which a port may be without a host before its conversation is over. The kernel
#: tells of a host that has come by another way than it brings its bytes: an agent may see an
#: earlier host go after it has greeted the next.
ABSENCE = 1.0

Handler = Callable[[int], None]


class Agent:
    """The loop. ``reconnects`` tells a virtio port, where hosts come and go, from a socket."""

    def __init__(self, port: Port, *, reconnects: bool) -> None:
        self.port = port
        self.reconnects = reconnects
        self.connected = False
        self.greeted = False
        self.power_off_pid = 0
        #: When a host that has gone will be given up.
        self.absent_until: float | None = None
        #: Descriptors that are watched whether or not a host is connected.
        self.always: set[int] = set()
        self.commands: dict[int, Command] = {}
        #: Given up but not ended: their ids are free again, and nothing of them is told.
        self.orphans: list[Command] = []
        self.poll = select.poll()
        self.handlers: dict[int, tuple[int, Handler]] = {}
        self.wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGIO):
            signal.signal(number, lambda *_: None)

    def run(self) -> None:
        """Serve for ever."""
        self.watch(self.wake, select.POLLIN, lambda _: self.woken())
        self.always.add(self.wake)
        self.connect()
        while True:
            self.settle()
            for fd, mask in self.poll.poll(self.time_left()):
                if fd == self.port.fd:
                    self.port_ready(mask)
                elif fd in self.handlers:
                    self.handlers[fd][1](fd)

    def settle(self) -> None:
        """Between two waits: send, kill what is overdue, ask poll for what is useful."""
        now = time.monotonic()
        for orphan in self.orphans:
            if orphan.kill_at is not None and orphan.kill_at <= now:
                orphan.kill_at = None
                orphan.signal(signal.SIGKILL)
        if self.absent_until is not None and self.absent_until <= now:
            self.end_conversation()
        if self.connected:
            self.port.flush()
            mask = select.POLLIN | (select.POLLOUT if self.port.queue else 0)
            self.watch(self.port.fd, mask, lambda _: None)
        wanted = {*self.always, self.port.fd}
        for fd, mask, handler in self.useful():
            self.watch(fd, mask, handler)
            wanted.add(fd)
        for fd in [fd for fd in self.handlers if fd not in wanted]:
            self.unwatch(fd)

    def useful(self) -> Iterator[tuple[int, int, Handler]]:
        """The pipes whose readiness can be used: others would make poll return at once."""
        room = self.port.queued < QUEUE_LIMIT
        for command in self.commands.values():
            if command.waits_for_stdin:
                yield command.stdin, select.POLLOUT, self.stdin_ready(command)
            for fd, channel in command.outputs.items():
                if room and command.credit[channel] > 0:
                    yield fd, select.POLLIN, self.output_ready(command)

    def watch(self, fd: int, mask: int, handler: Handler) -> None:
        if self.handlers.get(fd, (0, None))[0] != mask:
            self.poll.register(fd, mask)
        self.handlers[fd] = (mask, handler)

    def unwatch(self, fd: int) -> None:
        if self.handlers.pop(fd, None):
            # The descriptor may be closed already; poll does not mind.
            self.poll.unregister(fd)

    def time_left(self) -> float | None:
        """Milliseconds to the next deadline."""
        times = [o.kill_at for o in self.orphans if o.kill_at is not None]
        if self.absent_until is not None:
            times.append(self.absent_until)
        return max(0.0, min(times) - time.monotonic()) * 1000 + 1 if times else None

    def connect(self) -> None:
        """Begin to serve if the host is there; else a signal will tell when it comes."""
        if self.reconnects:
            # Asked for before looking, so that no arrival falls in between.
            self._signals(on=True)
        look = select.poll()
        look.register(self.port.fd, select.POLLIN)
        if any(mask & select.POLLHUP for _, mask in look.poll(0)):
            return
        if self.reconnects:
            # From here on poll tells everything; a signal for every piece would only cost.
            self._signals(on=False)
        self.connected = True
        self.absent_until = None
        if not self.greeted:
            self.port.reset_output()
            self.port.put({"type": "ready"})

    def _signals(self, *, on: bool) -> None:
        flags = fcntl.fcntl(self.port.fd, fcntl.F_GETFL)
        fcntl.fcntl(self.port.fd, fcntl.F_SETOWN, os.getpid())
        wanted = flags | os.O_ASYNC if on else flags & ~os.O_ASYNC
        fcntl.fcntl(self.port.fd, fcntl.F_SETFL, wanted)

    def disconnect(self) -> None:
        """The host has gone, or another has come since: only one that stays away is given up."""
        if not self.reconnects:
            self.give_up_commands()
            sys.exit(0)
        self.unwatch(self.port.fd)
        self.connected = False
        self.absent_until = time.monotonic() + ABSENCE
        self.connect()

    def end_conversation(self) -> None:
        """Nobody is served, nothing of the conversation stays."""
        self.absent_until = None
        self.give_up_commands()
        self.greeted = False
        # A hello that is lost with the rest is said again to an agent that is ready.
        while self.port.fill() and self.port.inbox:
            self.port.reset_input()
        self.port.reset_input()

    def woken(self) -> None:
        os.read(self.wake, 4096)
        self.reap()
        if not self.connected:
            self.connect()

    def reap(self) -> None:
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = os.waitstatus_to_exitcode(raw)
            if pid == self.power_off_pid and status != 0:
                machine.power_off_now()
            self.orphans = [orphan for orphan in self.orphans if orphan.pid != pid]
            for command in list(self.commands.values()):
                if command.pid == pid and not command.ended:
                    command.finish(status if status >= 0 else 128 - status)
                    self.forget_if_done(command)

    def port_ready(self, mask: int) -> None:
        if mask & (select.POLLHUP | select.POLLERR):
            self.disconnect()
            return
        if mask & select.POLLIN:
            alive = self.port.fill()
            for message, payload in self.port.messages():
                self.answer(message, payload)
            if not alive:
                self.disconnect()

    def answer(self, message: Message, payload: bytes) -> None:
        try:
            if message.text("type") == "hello":
                self.hello(message)
            elif self.greeted:
                self.handle(message, payload)
        except (ValueError, KeyError, OSError) as error:
            text = f"{type(error).__name__}: {error}"
            self.port.put({"type": "error", "id": message.get("id"), "message": text})

    def hello(self, message: Message) -> None:
        """A new conversation begins, also if the end of the last one was not seen."""
        self.give_up_commands()
        self.port.reset_output()
        self.greeted = True
        self.port.put({"type": "hello", "nonce": message.text("nonce"), "version": VERSION})

    def handle(self, message: Message, payload: bytes) -> None:
        kind, ident = message.text("type"), message.integer("id")
        if kind == "exec":
            self.execute(message)
        elif kind in ("data", "credit", "signal", "close"):
            command = self.commands.get(ident)
            # Absent: the command ended while this message was on its way.
            if command is not None:
                self.steer(command, message, payload)
        else:
            self.port.put({"type": "reply", "id": ident, **self.request(message)})

    def request(self, message: Message) -> dict[str, object]:
        kind = message.text("type")
        if kind == "ping":
            return {**machine.facts(), "agent": VERSION, "commands": len(self.commands)}
        if kind == "set_clock":
            machine.set_clock(message.integer("time"))
        elif kind == "shutdown":
            self.power_off_pid = machine.start_power_off()
        else:
            raise ValueError(f"unknown request {kind}")
        return {}

    def execute(self, message: Message) -> None:
        command = Command(message.integer("id"), self.port)
        words, variables = message.get("argv"), message.get("env", {})
        if not isinstance(words, list) or not isinstance(variables, dict) or not words:
            raise ValueError("a command needs words")
        if command.id in self.commands:
            raise ValueError("the id is taken")
        argv = [str(word) for word in words]
        env = {str(name): str(value) for name, value in variables.items()}
        try:
            command.start(argv, env, message.text("cwd"))
        except OSError as error:
            command.refuse(argv, error)
        else:
            self.commands[command.id] = command

    def steer(self, command: Command, message: Message, payload: bytes) -> None:
        kind = message.text("type")
        if kind == "data":
            command.feed(payload)
        elif kind == "credit":
            command.credit[message.text("channel")] += message.integer("bytes")
        elif kind == "signal":
            command.signal(message.integer("signal"))
        else:
            self.give_up(command)

    def stdin_ready(self, command: Command) -> Handler:
        return lambda _: command.write_stdin()

    def output_ready(self, command: Command) -> Handler:
        def ready(fd: int) -> None:
            if fd in command.outputs:
                command.read_output(fd)
                self.forget_if_done(command)

        return ready

    def forget_if_done(self, command: Command) -> None:
        if command.done:
            self.commands.pop(command.id, None)

    def give_up(self, command: Command) -> None:
        """Nobody waits for the command any more: SIGHUP, and SIGKILL for one that stays."""
        self.commands.pop(command.id, None)
        command.drop_streams()
        if not command.ended:
            command.signal(signal.SIGHUP)
            command.signal(signal.SIGCONT)
            command.kill_at = time.monotonic() + GRACE
            self.orphans.append(command)

    def give_up_commands(self) -> None:
        for command in list(self.commands.values()):
            self.give_up(command)
