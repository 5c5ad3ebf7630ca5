"""Runs one command: parses, renders what goes wrong, and decides the exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from banger.cli.failures import from_usage, render_error, render_json_error, wants_json
from banger.errors import BangerError, InternalError

#: 128 + SIGINT and 128 + SIGPIPE, what a shell reports for a program ended by them.
INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """The ``banger`` command; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
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
        _to_stderr([""] if sys.stderr.isatty() else [])
        return INTERRUPTED


def _run(arguments: list[str]) -> int:
    from banger.cli.root import root

    try:
        with root.make_context("banger", list(arguments)) as context:
            result = root.invoke(context)
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as wish:
        sys.stdout.write(wish.message + "\n")
        return 0
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as mistake:
        return show(from_usage(mistake), arguments)
    except BangerError as error:
        _debug(arguments)
        return show(error, arguments)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as defect:  # noqa: BLE001 - the last resort: no user ever sees a traceback
        _debug(arguments)
        return show(
            InternalError(
                "banger met a defect of its own",
                cause=f"{type(defect).__name__}: {defect}",
                resolution=f"banger --debug {arguments[0] if arguments else ''}".rstrip(),
            ),
            arguments,
        )


def show(error: BangerError, arguments: Sequence[str]) -> int:
    """Print ``error`` on stderr and return its exit status."""
    if wants_json(arguments):
        _to_stderr([render_json_error(error)])
    else:
        from banger.cli.session import colour_allowed

        refused = "--no-color" in arguments
        colour = sys.stderr.isatty() and colour_allowed(os.environ, refused=refused)
        _to_stderr(render_error(error, colour=colour))
    return error.exit_status


def _debug(arguments: Sequence[str]) -> None:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--debug" in own:
        import traceback

        traceback.print_exc()


def _to_stderr(lines: Sequence[str]) -> None:
    sys.stdout.flush()
    try:
        for line in lines:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
