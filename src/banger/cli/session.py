"""What holds for one call of ``banger``: where things are, and how the terminal is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

import click

from banger.client.client import BangerClient
from banger.paths import Paths
from banger.settings import Settings, load


def option(name: str) -> bool:
    """Whether the common option ``name`` was given anywhere on the command line."""
    context = click.get_current_context(silent=True)
    return bool(context and context.find_root().ensure_object(dict).get(name))


def command_path() -> str:
    """The command as it was called, without its arguments: ``banger vm list``."""
    context = click.get_current_context(silent=True)
    return context.command_path if context else "banger"


def paths() -> Paths:
    """The folders of the user who calls."""
    return Paths.from_environment(os.environ, os.getuid())


def settings() -> Settings:
    """The user's preferences; what is odd about them is told on stderr."""
    loaded = load(paths().settings, os.environ)
    for warning in loaded.warnings:
        note(f"warning: {warning}")
    return loaded


def connect() -> BangerClient:
    """The daemon, started or replaced if it has to be."""
    from banger.client.autostart import connect

    return connect(paths())


def colour_allowed(environ: Mapping[str, str], *, refused: bool = False) -> bool:
    """Whether the environment and ``--no-color`` leave colour possible."""
    return not (
        refused
        or environ.get("NO_COLOR")
        or environ.get("BANGER_NO_COLOR")
        or environ.get("TERM") == "dumb"
    )


def wants_colour(stream: TextIO) -> bool:
    """Whether ``stream`` is shown in colour."""
    return stream.isatty() and colour_allowed(os.environ, refused=option("no_color"))


def animates(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal on which lines may be drawn again."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def terminal_width() -> int:
    """The columns of the terminal, 0 when stdout is none (``COLUMNS`` wins)."""
    text = os.environ.get("COLUMNS", "")
    if text.isdigit() and int(text) > 0:
        return int(text)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0


def say(text: str = "") -> None:
    """Print a line of data or result on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line for the person on stderr, after what stdout has."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
