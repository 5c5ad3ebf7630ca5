"""One command in the guest: how it is started, and the flow of its three streams."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from _collections_abc import Sequence

from .port import PIECE, Port

#: Bytes of one stream that may be under way without being consumed, in each direction.
WINDOW = 256 * 1024
#: Room for the host's standard input is reported in portions, not for every write.
_REPORT = WINDOW // 4
#: The numbers are the kernel's; the modules that name them are slow to import.
_FIONREAD = 0x541B
_SIGKILL, _SIGSTOP, _SIGNALS = 9, 19, 31
DEFAULT_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
    "LANG": "C.UTF-8",
}


class Command:
    """A started command. Descriptors that are -1 or absent are closed."""

    def __init__(self, ident: int, port: Port) -> None:
        self.id = ident
        self.pid = 0
        self.ended = False
        self.stdin = -1
        self.outputs: dict[int, str] = {}
        self.credit = {"stdout": WINDOW, "stderr": WINDOW}
        #: When to send SIGKILL (monotonic seconds), after SIGHUP.
        self.kill_at: float | None = None
        self._port = port
        self._pending = bytearray()
        self._stdin_ends = False
        self._consumed = 0
        #: After the command's end: bytes of its own that are still in each pipe. What a child
        #: that it left behind writes later is not waited for.
        self._left: dict[int, int] = {}

    @property
    def done(self) -> bool:
        """Whether nothing is left to tell the host."""
        return self.ended and not self.outputs

    def start(self, argv: Sequence[str], env: dict[str, str], cwd: str) -> None:
        """Start it in a session of its own. Raises ``OSError``."""
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        reads, writes = [pipe[0] for pipe in pipes], [pipe[1] for pipe in pipes]
        try:
            self.pid = _spawn(argv, {**DEFAULT_ENV, **env}, cwd, (reads[0], *writes[1:]))
        except BaseException:
            for fd in (writes[0], *reads[1:]):
                os.close(fd)
            raise
        finally:
            for fd in (reads[0], *writes[1:]):
                os.close(fd)
        self.stdin = writes[0]
        self.outputs = {reads[1]: "stdout", reads[2]: "stderr"}
        for fd in (self.stdin, *self.outputs):
            os.set_blocking(fd, False)

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the command."""
        if self.pid and not self.ended:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                return

    def feed(self, data: bytes) -> None:
        """Take a piece of standard input; an empty one ends it."""
        if data:
            self._pending += data
        else:
            self._stdin_ends = True
        self.write_stdin()

    @property
    def waits_for_stdin(self) -> bool:
        return self.stdin >= 0 and bool(self._pending)

    def write_stdin(self) -> None:
        """Pass on what the pipe takes and tell the host of the room made."""
        if self.stdin >= 0 and self._pending:
            try:
                done = os.write(self.stdin, self._pending)
            except BlockingIOError:
                return
            except OSError:
                self.close_stdin()
            else:
                del self._pending[:done]
                self._consumed += done
        if self.stdin < 0:
            # Nobody reads it: swallow it, so that the host is not left waiting for room.
            self._consumed += len(self._pending)
            self._pending.clear()
        if self._consumed and (self._consumed >= _REPORT or not self._pending):
            self._port.put({"type": "credit", "id": self.id, "bytes": self._consumed})
            self._consumed = 0
        if self._stdin_ends and not self._pending:
            self.close_stdin()

    def close_stdin(self) -> None:
        """Close the pipe to the command."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def read_output(self, fd: int) -> None:
        """Send on one piece of output, or the end of it."""
        channel = self.outputs[fd]
        limit = min(PIECE, self.credit[channel], self._left.get(fd, PIECE))
        if limit > 0:
            try:
                data = os.read(fd, limit)
            except BlockingIOError:
                return
            if data:
                self.credit[channel] -= len(data)
                self._port.put({"type": "data", "id": self.id, "channel": channel}, data)
                if fd in self._left:
                    self._left[fd] -= len(data)
                if self._left.get(fd, 1) > 0:
                    return
        elif self._left.get(fd, 1) > 0:
            return
        self.close_output(fd)

    def close_output(self, fd: int) -> None:
        """Close one pipe from the command and tell the host."""
        channel = self.outputs.pop(fd)
        os.close(fd)
        self._port.put({"type": "data", "id": self.id, "channel": channel}, b"")

    def drop_streams(self) -> None:
        """Close every pipe without telling the host."""
        self.close_stdin()
        for fd in self.outputs:
            os.close(fd)
        self.outputs.clear()

    def finish(self, status: int) -> None:
        """The command has ended with this exit status."""
        self.ended = True
        self._port.put({"type": "exit", "id": self.id, "status": status})
        self._pending.clear()
        self.close_stdin()
        for fd in list(self.outputs):
            self._left[fd] = int.from_bytes(fcntl.ioctl(fd, _FIONREAD, bytes(4)), sys.byteorder)
            if not self._left[fd]:
                self.close_output(fd)

    def refuse(self, argv: Sequence[str], error: OSError) -> None:
        """Tell the host as a shell would that the command cannot be started."""
        missing = error.errno == errno.ENOENT
        reason = "command not found" if missing else os.strerror(error.errno or 0)
        text = f"banger: {argv[0]}: {reason}\n".encode(errors="surrogateescape")
        for channel, data in (("stderr", text), ("stderr", b""), ("stdout", b"")):
            self._port.put({"type": "data", "id": self.id, "channel": channel}, data)
        self.ended = True
        self._port.put({"type": "exit", "id": self.id, "status": 127 if missing else 126})


def _spawn(argv: Sequence[str], env: dict[str, str], cwd: str, files: Sequence[int]) -> int:
    home = env["HOME"] if os.path.isdir(env["HOME"]) else "/"
    # The agent has one thread, so for a moment its own folder may be the command's.
    os.chdir(cwd or home)
    try:
        program = _find_program(argv[0], env["PATH"])
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(files)]
        # Python ignores some, and who started us perhaps others, like nohup: a command must not
        # inherit that, or it would not hear that it is hung up on.
        defaults = [n for n in range(1, _SIGNALS + 1) if n not in (_SIGKILL, _SIGSTOP)]
        for line in ([*argv], ["/bin/sh", program, *argv[1:]]):
            try:
                return os.posix_spawn(
                    program, line, env, file_actions=actions, setsid=True, setsigdef=defaults
                )
            except OSError as error:
                if error.errno != errno.ENOEXEC or line[0] == "/bin/sh":
                    raise
                # A script whose first line names no interpreter: shells run it themselves.
                program = "/bin/sh"
        raise AssertionError("unreachable")
    finally:
        os.chdir("/")


def _find_program(name: str, path: str) -> str:
    candidates = [name] if "/" in name else [os.path.join(d or ".", name) for d in path.split(":")]
    problem = errno.ENOENT
    for candidate in candidates:
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            problem = errno.EACCES
        elif "/" in name and os.path.isdir(candidate):
            problem = errno.EISDIR
    raise OSError(problem, os.strerror(problem), name)
