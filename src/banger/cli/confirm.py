"""Asks before something that cannot be taken back."""

from __future__ import annotations

import sys

from banger.cli.session import command_path
from banger.errors import Cancelled, InvalidInput


def require_yes(question: str, *, agreed: bool, again: str = "--all --yes") -> None:
    """Go on only if ``agreed``, or if the person types ``yes``; without a terminal: refuse.

    ``again`` are the arguments with which the command would not ask.
    """
    if agreed:
        return
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput(
            "this needs a confirmation",
            cause=f"{question}, and there is no terminal to ask on",
            resolution=f"{command_path()} {again}",
        )
    sys.stdout.flush()
    sys.stderr.write(f"{question}. Type yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise Cancelled(
            "nothing was changed",
            cause="the answer was not yes",
            resolution=f"{command_path()} {again}",
        )
