"""The lab host by hand: ``python -m tests.lab build``, ``shell`` or ``run COMMAND...``."""

from __future__ import annotations

import argparse
import sys
import time

from tests.lab import saved
from tests.lab.session import Session


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("action", choices=("build", "shell", "run"))
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a shell command to run there")
    parser.add_argument("--user", default="root", help="root or dev")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each command")
    return parser.parse_args()


def _one(session: Session, command: str, arguments: argparse.Namespace) -> int:
    done = session.control.run(
        "bash", "-c", command, user=arguments.user, timeout=arguments.timeout
    )
    sys.stdout.write(done.stdout.decode(errors="replace"))
    sys.stderr.write(done.stderr.decode(errors="replace"))
    sys.stdout.flush()
    return done.returncode


def main() -> int:
    """Build what is absent, restore, and do what was asked."""
    arguments = _arguments()
    began = time.monotonic()
    if arguments.action == "build":
        print(f"{saved.ensure_saved()} ({time.monotonic() - began:.1f} s)")
        return 0
    with Session() as session:
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in session.seconds.items())
        began = time.monotonic()
        home = "/root" if arguments.user == "root" else f"/home/{arguments.user}"
        session.shell(f"mkdir -p -m 0700 {home}/.local/state; chown -R {arguments.user}: {home}")
        session.give_image(f"{home}/.local/state/banger", user=arguments.user)
        told += f", image {time.monotonic() - began:.1f} s"
        print(f"lab: {told}", file=sys.stderr)
        if arguments.action == "run":
            return _one(session, " ".join(arguments.command), arguments)
        status = 0
        while (line := _read_line()) is not None:
            status = _one(session, line, arguments)
        return status


def _read_line() -> str | None:
    """One command; ``None`` at the end of the input."""
    try:
        return input("lab# " if sys.stdin.isatty() else "")
    except EOFError:
        return None


if __name__ == "__main__":
    sys.exit(main())
