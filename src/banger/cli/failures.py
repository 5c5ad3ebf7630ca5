"""Shows an error: three lines for people, one JSON object with ``--json``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise

import click

from banger.cli.session import colour_allowed, option
from banger.cli.text import clean, paint
from banger.errors import BangerError, InvalidInput, NotFound

#: Lines of an error's details that are shown; the log has the rest.
DETAIL_LINES = 20


class UsageMistake(InvalidInput):
    """The command line itself is wrong."""

    code = "usage"


def render_error(error: BangerError, *, colour: bool = False) -> list[str]:
    """The last lines of the details, then what failed, why, and what to type next."""
    details = error.details.strip("\n").splitlines()
    lines = [paint(f"  | {clean(line)}", "dim", colour=colour) for line in details[-DETAIL_LINES:]]
    brief = f"{paint('error:', 'red', colour=colour)} {_one_line(error.brief)}"
    lines.append(brief)
    if error.cause:
        lines.append(f"  {paint('cause:', 'bold', colour=colour)} {_one_line(error.cause)}")
    if error.resolution:
        lines.append(f"  {paint('try:', 'bold', colour=colour)}   {_one_line(error.resolution)}")
    return lines


def render_json_error(error: BangerError) -> str:
    """The same as one line of JSON."""
    return json.dumps({"error": {**error.as_dict(), "exit_status": error.exit_status}})


def show(error: BangerError, *, as_json: bool = False, refuse_colour: bool = False) -> None:
    """Print ``error`` on stderr, after what stdout already has."""
    if as_json:
        lines = [render_json_error(error)]
    else:
        colour = sys.stderr.isatty() and colour_allowed(
            os.environ, refused=refuse_colour or option("no_color")
        )
        lines = render_error(error, colour=colour)
    sys.stdout.flush()
    sys.stderr.write("".join(line + "\n" for line in lines))
    sys.stderr.flush()


def _one_line(text: str) -> str:
    return clean("; ".join(part.strip() for part in text.strip().splitlines()))


def wants_json(argv: Sequence[str]) -> bool:
    """Whether the options before ``--`` ask for JSON (the parser may not have come to them)."""
    own = list(argv[: argv.index("--")]) if "--" in argv else list(argv)
    following = dict(pairwise(own))
    chosen = following.get("--format", "")
    return "--json" in own or chosen in ("json", "jsonl") or "--format=json" in own


def from_usage(error: click.ClickException) -> BangerError:
    """Click's complaint in banger's form."""
    context = getattr(error, "ctx", None)
    path = context.command_path if isinstance(context, click.Context) else "banger"
    help_command = f"{path} --help"
    possibilities = getattr(error, "possibilities", None)
    if isinstance(error, click.exceptions.NoSuchCommand):
        brief = f"there is no command {error.command_name!r}"
        if possibilities:
            words = " or ".join(repr(word) for word in possibilities)
            return UsageMistake(
                brief,
                cause=f"did you mean {words}?",
                resolution=f"{path} {possibilities[0]}",
            )
        return UsageMistake(
            brief, cause=f"it is not one of {path}'s commands", resolution=help_command
        )
    message = error.format_message().rstrip(".")
    cause = ""
    if isinstance(error, click.exceptions.NoSuchOption):
        message = f"there is no option {error.option_name}"
        if possibilities:
            cause = f"did you mean {' or '.join(possibilities)}?"
    if not cause and isinstance(context, click.Context):
        cause = " ".join(context.get_usage().split()).replace("Usage:", "usage:")
    return UsageMistake(
        message[:1].lower() + message[1:], cause=cause or "see the help", resolution=help_command
    )


def with_suggestion(error: NotFound, word: str, known: Sequence[str]) -> NotFound:
    """``error`` with the names that ``word`` may have been meant as."""
    from banger.cli.text import suggestions

    near = suggestions(word, known)
    if near:
        error.cause = f"did you mean {' or '.join(near)}?"
    return error
