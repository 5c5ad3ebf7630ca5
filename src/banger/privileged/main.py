"""``banger-privileged``: one batch of calls in as JSON, their results out as JSON."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from banger.privileged import execute, installation, sudoers
from banger.privileged.calls import CATALOGUE_VERSION, Call, CallFailed, TapFacts, call_from_json
from banger.privileged.checks import check

#: Bytes of a batch, and calls in it.
MAX_REQUEST = 1024 * 1024
MAX_CALLS = 256
#: Seconds that each call may take, and that a batch of the same user may be waited for.
DEADLINE = 30
_LOCKS = Path("/run/banger-privileged")

Read = Callable[[int], bytes]
Perform = Callable[[Sequence[Call], int], list[TapFacts]]


def main() -> int:
    """Do what standard input asks for; the exit status says whether all was done."""
    os.umask(0o077)
    prefix = Path(sys.argv[0]).absolute().parent
    os.chdir("/")
    caller = caller_of(os.environ)
    os.environ.clear()
    signal.signal(signal.SIGALRM, _too_late)
    reply = answer(sys.stdin.buffer.read, caller, prefix, execute.perform)
    sys.stdout.write(json.dumps(reply) + "\n")
    return 1 if "error" in reply else 0


def caller_of(environ: Mapping[str, str]) -> int | None:
    """Who started us: sudo says so, and nobody else can have; without sudo it is root."""
    text = environ.get("SUDO_UID", str(os.getuid()))
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def answer(read: Read, caller: int | None, prefix: Path, perform: Perform) -> dict[str, object]:
    """The reply to one request. Nothing is done of a batch in which any call is refused."""
    results: list[dict[str, object]] = []
    reply: dict[str, object] = {"version": CATALOGUE_VERSION, "results": results}
    try:
        if os.geteuid() != 0 or caller is None:
            raise CallFailed("refused", "banger-privileged must be started through sudo")
        reason = installation.unsafe_folder(prefix)
        if reason:
            raise CallFailed("unsafe", reason)
        reply["sudoers"] = installation.sudoers_problem(caller, sudoers.render(caller, prefix))
        with _deadline("the request was not complete"):
            batch = read_batch(read(MAX_REQUEST + 1))
        for call in batch:
            check(call, caller)
        execute.load(map(type, batch))
        with _alone(caller):
            for call in batch:
                with _deadline(f"{type(call).__name__} did not end"):
                    results.extend(facts.as_dict() for facts in perform([call], caller))
    except CallFailed as failure:
        reply["error"] = {"reason": failure.reason, "text": failure.text}
    except OSError as error:
        reply["error"] = {"reason": "failed", "text": str(error)}
    return reply


def read_batch(data: bytes) -> list[Call]:
    """The calls of a request. Raises ``CallFailed``."""
    if len(data) > MAX_REQUEST:
        raise CallFailed("malformed", f"the request has more than {MAX_REQUEST} bytes")
    try:
        request = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CallFailed("malformed", "the request is not JSON") from error
    if not isinstance(request, dict) or request.keys() != {"version", "calls"}:
        raise CallFailed("malformed", "a request has a version and calls, and nothing else")
    version, calls = request["version"], request["calls"]
    if version != CATALOGUE_VERSION:
        text = f"banger asks in version {version!r:.20}, the root side is {CATALOGUE_VERSION}"
        raise CallFailed("version", text)
    if not isinstance(calls, list) or len(calls) > MAX_CALLS:
        raise CallFailed("malformed", f"calls is a list of at most {MAX_CALLS}")
    return [call_from_json(call) for call in calls]


def _too_late(_number: int, _frame: object) -> None:
    raise TimeoutError


@contextlib.contextmanager
def _deadline(text: str) -> Iterator[None]:
    signal.alarm(DEADLINE)
    try:
        yield
    except TimeoutError as error:
        raise CallFailed("failed", f"{text} within {DEADLINE} s") from error
    finally:
        signal.alarm(0)


@contextlib.contextmanager
def _alone(caller: int) -> Iterator[None]:
    """One batch of a user at a time; the kernel lets go of the lock however we end."""
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(_LOCKS / f"{caller}.batch", flags, 0o600)
    try:
        with _deadline("an earlier batch did not end"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
