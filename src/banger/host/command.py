"""Runs short-lived programs to their end: the one place that does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from banger.errors import BangerError, CommandFailed, DeadlineExceeded, HostNotReady
from banger.host import group
from banger.host.lines import LineSplitter

#: Passed on from our own environment because only the user can know them.
_INHERITED = (
    "HOME",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
#: Debian leaves these out of an ordinary user's PATH, and half of our programs live there.
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
#: How much output is kept to explain a failure, in bytes.
TAIL_BYTES = 16 * 1024
_CHUNK = 64 * 1024


class Command(Struct, frozen=True):
    """A program and how to run it.

    ``env`` is added to a minimal environment with a fixed locale. ``timeout`` is in seconds.
    ``package`` is the Debian package that provides ``argv[0]``. ``descriptors`` stay open in it
    under the same numbers.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    timeout: float = 60
    stdin: bytes | None = None
    cwd: Path | None = None
    package: str = ""
    ok_statuses: tuple[int, ...] = (0,)
    descriptors: tuple[int, ...] = ()


class Completed(Struct, frozen=True):
    """A program that ended with an accepted status.

    When lines or a log were asked for, ``stdout`` is only the tail of both streams together.
    """

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")


def find_program(name: str, package: str = "") -> Path:
    """The absolute path of a program, also from the folders that only root has in PATH.

    Raises ``HostNotReady`` with the package to install.
    """
    found = shutil.which(name, path=_search_path())
    if found is None:
        package = package or Path(name).name
        raise HostNotReady(
            f"the program {name} is missing",
            cause="it was not found in PATH or in the system's own folders",
            resolution=as_root(f"apt-get install {package}"),
        )
    return Path(found).absolute()


def as_root(command: str) -> str:
    """The command line to show a user for something that only root can do."""
    return command if os.geteuid() == 0 else f"sudo {command}"


def base_environment() -> dict[str, str]:
    """The environment every program gets: PATH, HOME, a fixed locale, proxies and CAs."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"HOME": "/", **kept, "PATH": _search_path(), "LC_ALL": "C.UTF-8"}


async def run(
    command: Command, *, on_line: Callable[[str], None] | None = None, log: Path | None = None
) -> Completed:
    """Run to the end without blocking the loop.

    With ``on_line`` or ``log`` both output streams are merged: each line goes to ``on_line``,
    everything is appended to the file ``log``. Cancellation and timeout end the whole process
    group. Raises ``CommandFailed``, ``DeadlineExceeded`` or ``HostNotReady``.
    """
    merged = on_line is not None or log is not None
    argv = _resolve(command)
    try:
        starting = asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            env=base_environment() | dict(command.env or {}),
            cwd=command.cwd,
            pass_fds=command.descriptors,
            start_new_session=True,
        )
        process = await group.started(asyncio.create_task(starting))
    except OSError as error:
        raise _not_started(command, error) from error
    try:
        async with asyncio.timeout(command.timeout):
            if merged:
                stdout, stderr = await _follow(process, command.stdin, on_line, log), b""
            else:
                stdout, stderr = await _exchange(process, command.stdin)
            status = await process.wait()
    except TimeoutError as error:
        await group.end(process)
        raise _too_slow(command) from error
    except BaseException:
        await group.end(process)
        raise
    return _completed(command, status, stdout, stderr)


def run_blocking(command: Command) -> Completed:
    """Run to the end, blocking the caller. Raises as ``run`` does."""
    argv = _resolve(command)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=base_environment() | dict(command.env or {}),
            cwd=command.cwd,
            pass_fds=command.descriptors,
            start_new_session=True,
        )
    except OSError as error:
        raise _not_started(command, error) from error
    with process:
        try:
            stdout, stderr = process.communicate(command.stdin, timeout=command.timeout)
        except subprocess.TimeoutExpired as error:
            group.signal_to(process.pid, signal.SIGKILL)
            raise _too_slow(command) from error
        except BaseException:
            group.signal_to(process.pid, signal.SIGKILL)
            raise
    return _completed(command, process.returncode, stdout, stderr)


def _search_path() -> str:
    own = os.environ.get("PATH", "").split(os.pathsep)
    # Relative entries would let the current folder decide what runs.
    folders = [folder for folder in own if folder.startswith("/")]
    folders += [folder for folder in _SYSTEM_FOLDERS if folder not in folders]
    return os.pathsep.join(folders)


def _resolve(command: Command) -> list[str]:
    return [str(find_program(command.argv[0], command.package)), *command.argv[1:]]


async def _exchange(
    process: asyncio.subprocess.Process, stdin: bytes | None
) -> tuple[bytes, bytes]:
    assert process.stdout is not None and process.stderr is not None  # noqa: S101,PT018 - pipes
    _, stdout, stderr = await asyncio.gather(
        _feed(process, stdin or b""), process.stdout.read(), process.stderr.read()
    )
    return stdout, stderr


async def _follow(
    process: asyncio.subprocess.Process,
    stdin: bytes | None,
    on_line: Callable[[str], None] | None,
    log: Path | None,
) -> bytes:
    tail = bytearray()
    lines = LineSplitter()
    assert process.stdout is not None  # noqa: S101 - we asked for a pipe
    feeding = asyncio.create_task(_feed(process, stdin or b""))
    try:
        with _appending(log) as write:
            while chunk := await process.stdout.read(_CHUNK):
                write(chunk)
                tail += chunk
                del tail[:-TAIL_BYTES]
                _tell(on_line, lines.feed(chunk))
            _tell(on_line, lines.end())
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
    return bytes(tail)


def _tell(on_line: Callable[[str], None] | None, lines: list[str]) -> None:
    if on_line is not None:
        for line in lines:
            on_line(line)


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    # A program may stop reading early, as head does: its status tells whether that is wrong.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await process.stdin.wait_closed()


@contextlib.contextmanager
def _appending(log: Path | None) -> Iterator[Callable[[bytes], object]]:
    if log is None:
        yield len
        return
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "ab", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
        yield file.write


def _completed(command: Command, status: int, stdout: bytes, stderr: bytes) -> Completed:
    if status in command.ok_statuses:
        return Completed(command.argv, status, stdout, stderr)
    text = _printable((stderr.strip() or stdout.strip())[-TAIL_BYTES:])
    lines = text.splitlines()
    ended = f"failed with status {status}" if status > 0 else f"was ended by signal {-status}"
    raise CommandFailed(
        f"{Path(command.argv[0]).name} {ended}",
        cause=lines[-1].strip() if lines else "it printed nothing",
        details="\n".join([" ".join(command.argv), *lines[-40:]]),
    )


def _printable(output: bytes) -> str:
    text = output.decode(errors="replace")
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)


def _too_slow(command: Command) -> BangerError:
    return DeadlineExceeded(
        f"{Path(command.argv[0]).name} did not end within {command.timeout:g} s",
        cause="it was ended together with everything it had started",
        details=" ".join(command.argv),
    )


def _not_started(command: Command, error: OSError) -> BangerError:
    return CommandFailed(
        f"{Path(command.argv[0]).name} could not be started",
        cause=error.strerror or str(error),
        details=" ".join(command.argv),
    )
