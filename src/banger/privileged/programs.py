"""Runs the few programs that the root side needs: fixed places, nothing of an environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from banger.privileged.calls import CallFailed

#: Fixed places, so that no environment decides what root runs.
_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
_PACKAGES = {"nft": "nftables", "resolvectl": "systemd-resolved"}
#: Seconds that one program may take.
_TIMEOUT = 20


def find(name: str) -> str | None:
    """Where the program is; None if it is missing."""
    paths = (f"{folder}/{name}" for folder in _FOLDERS)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def run(name: str, arguments: tuple[str, ...], text: str) -> str:
    """What the program prints, given ``text``. Raises ``CallFailed``."""
    program = find(name)
    if program is None:
        package = _PACKAGES[name]
        raise CallFailed("failed", f"the program {name} is missing (Debian package {package})")
    return _run_program([program, *arguments], text, name)


def nft(text: str) -> str:
    """Let nft carry out the text, as a whole or not at all. Raises ``CallFailed``."""
    return run("nft", ("-f", "-"), text)


def run_inside(request: str) -> str:
    """The inner side of a jail: a Python of its own, since it changes all that a process is."""
    source = Path(__file__).parents[2]
    script = (
        f"import sys; sys.path.insert(0, {str(source)!r})\n"
        "from banger.privileged import jail_inside, programs\n"
        "sys.exit(jail_inside.main(sys.stdin.buffer.read(), programs.run_detached))\n"
    )
    return _run_program([sys.executable, "-IBSc", script], request, "the jail")


def run_detached(argv: Sequence[str], streams: tuple[int, int, int]) -> int:
    """Run a program whose children outlive us, in a session of its own; its exit status."""
    # Imported where it is used: most batches run no program, and ask at most whether one is there.
    import subprocess

    stdin, stdout, stderr = streams
    done = subprocess.run(
        argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={},
        cwd="/",
        start_new_session=True,
        timeout=_TIMEOUT,
        check=False,
    )
    return done.returncode


def _run_program(argv: Sequence[str], text: str, name: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            argv,
            input=text.encode(),
            env={"PATH": ":".join(_FOLDERS), "LC_ALL": "C"},
            cwd="/",
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CallFailed("failed", f"{name} did not end within {_TIMEOUT} s") from error
    if done.returncode != 0:
        raise CallFailed("failed", f"{name}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")
