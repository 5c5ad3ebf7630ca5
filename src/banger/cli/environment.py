"""Environment variables for commands in guests, as they are typed and as files hold them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from banger.cli.session import command_path
from banger.errors import InvalidInput

_F = TypeVar("_F", bound=Callable[..., Any])
#: Names that every shell takes (POSIX, section 8.1).
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
#: What the API takes as one value.
_MOST = 131_071


def env_options(function: _F) -> _F:
    """Add ``--env`` and ``--env-file``; they arrive as ``env`` and ``env_files``."""
    for decorator in (
        click.option(
            "--env-file", "env_files", multiple=True, metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, readable=True),
            help="Variables from a file, one KEY=VALUE a line; good for secrets.",
        ),
        click.option(
            "-e", "--env", "env", multiple=True, metavar="KEY[=VALUE]",
            help="A variable for COMMAND; without VALUE, yours (may be repeated).",
        ),
    ):  # fmt: skip
        function = decorator(function)
    return function


def variables(
    env: Sequence[str], env_files: Sequence[str], mine: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables meant: those of the files in their order, then ``env``; the last one counts.

    A name without ``=`` takes the value it has in ``mine``, and nothing if it has none there.
    Raises ``InvalidInput``.
    """
    found: dict[str, str] = {}
    for path in env_files:
        for number, line in enumerate(_lines(path), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                _take(found, line, mine, f"line {number} of {path}")
    for text in env:
        _take(found, text, mine, f"--env {text.partition('=')[0]!r:.60}")
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is slow to import
            return file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"--env-file {path} cannot be read",
            cause=getattr(error, "strerror", "") or "it is not UTF-8 text",
            resolution=f"ls -l {path}",
        ) from None


def _take(found: dict[str, str], text: str, mine: Mapping[str, str], where: str) -> None:
    name, given, value = text.partition("=")
    name = name.strip()
    if not _NAME.match(name) or "\0" in value or len(value) > _MOST:
        raise InvalidInput(
            f"{where} is not a variable",
            cause="it has the form KEY=VALUE, and a key has letters, digits and _",
            resolution=f"{command_path()} --env LANG=C.UTF-8",
        )
    if given:
        found[name] = value
    elif name in mine:
        found[name] = mine[name]
