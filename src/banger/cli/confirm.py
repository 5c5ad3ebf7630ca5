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
    if not can_ask():
        raise InvalidInput(
            "this needs a confirmation",
            cause=f"{question}, and there is no terminal to ask on",
            resolution=f"{command_path()} {again}",
        )
    if not agrees(f"{question}. Type yes to go on"):
        raise Cancelled(
            "nothing was changed",
            cause="the answer was not yes",
            resolution=f"{command_path()} {again}",
        )


def can_ask() -> bool:
    """Whether there is a person at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def agrees(question: str) -> bool:
    """Ask, and tell whether the answer was ``yes``. Only where ``can_ask``."""
    sys.stdout.flush()
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"
