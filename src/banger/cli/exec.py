"""``exec``: one command in a guest, its streams and its exit status."""

from __future__ import annotations

import click

from banger.cli.environment import env_options, variables
from banger.cli.failures import UsageMistake, show
from banger.cli.guest_command import run_in_guest, run_on_terminal
from banger.cli.lazy import Command
from banger.cli.names import vm_names
from banger.cli.session import connect
from banger.cli.ssh import FIRST_WORD_ENDS_OPTIONS, without_separator
from banger.cli.targets import suggest
from banger.errors import EXEC_FAILED, BangerError, NotFound


@click.command(
    "exec",
    cls=Command,
    examples=(
        "banger exec web -- uname -a",
        "banger exec -e LANG=C web -- date",
        "tar c . | banger exec web -- tar x -C /srv",
    ),
    help="Run COMMAND in a VM and pass on its output and exit status (125: banger failed).",
    context_settings=FIRST_WORD_ENDS_OPTIONS,
    options_metavar="[OPTIONS]",
)
@click.option("-t", "--tty", "terminal", is_flag=True, help="Give COMMAND a terminal (by SSH).")
@click.option("-n", "--no-stdin", is_flag=True, help="Give COMMAND an empty stdin.")
@click.option("-i", "--interactive", is_flag=True, hidden=True, help="Accepted by habit.")
@env_options
@click.argument("name", shell_complete=vm_names("running"))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--] COMMAND...")
def exec_command(
    *,
    name: str,
    words: tuple[str, ...],
    terminal: bool,
    no_stdin: bool,
    interactive: bool,  # noqa: ARG001 - accepted by habit
    env: tuple[str, ...],
    env_files: tuple[str, ...],
) -> int:
    given = variables(env, env_files)
    command = without_separator(words)
    if not command:
        raise UsageMistake(
            "no command is given",
            cause="exec runs a command; for a shell there is ssh",
            resolution=f"banger ssh {name}",
        )
    try:
        client = connect()
        try:
            if terminal:
                return run_on_terminal(client, name, command, given)
            return run_in_guest(client, name, command, stdin=not no_stdin, env=given)
        except NotFound as error:
            raise suggest(client, error, name) from None
    except BangerError as error:
        show(error)
        return EXEC_FAILED
