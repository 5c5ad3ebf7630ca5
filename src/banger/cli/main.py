"""Runs one command: parses, renders what goes wrong, and decides the exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click

from banger.cli.failures import from_usage, show, wants_json
from banger.errors import BangerError, InternalError

#: 128 + SIGINT and 128 + SIGPIPE, what a shell reports for a program ended by them.
INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """The ``banger`` command; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if "_BANGER_COMPLETE" in os.environ:
        from banger.cli.completion import answer

        return answer(os.environ)
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED


def help_width(columns: int) -> int:
    """Columns of help: short lines are read more easily. Given, so that click need not ask."""
    return max(40, min(columns or 80, 80))


def _run(arguments: list[str]) -> int:
    from banger.cli.root import root
    from banger.cli.session import terminal_width

    try:
        with root.make_context(
            "banger", list(arguments), terminal_width=help_width(terminal_width())
        ) as context:
            status: object = root.invoke(context)
            return status if isinstance(status, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as wish:
        sys.stdout.write(wish.message + "\n")
        return 0
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as mistake:
        return _fail(from_usage(mistake), arguments)
    except BangerError as error:
        return _fail(error, arguments)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as defect:  # noqa: BLE001 - the last resort: no user ever sees a traceback
        return _fail(
            InternalError(
                "banger met a defect of its own",
                cause=f"{type(defect).__name__}: {defect}",
                resolution=f"banger --debug {arguments[0] if arguments else ''}".rstrip(),
            ),
            arguments,
        )


def _fail(error: BangerError, arguments: Sequence[str]) -> int:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--debug" in own:
        import traceback

        traceback.print_exc()
    show(error, as_json=wants_json(own), refuse_colour="--no-color" in own)
    return error.exit_status
