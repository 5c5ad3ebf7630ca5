"""``console``: the serial console as a terminal."""

from __future__ import annotations

import sys

import click

from banger.cli.interrupts import termination_interrupts
from banger.cli.lazy import Command
from banger.cli.names import vm_names
from banger.cli.session import connect, note
from banger.cli.targets import suggest
from banger.errors import NotFound


@click.command(
    "console",
    cls=Command,
    examples=("banger console web", "banger logs -f web"),
    help="Attach to a VM's serial console; Ctrl-] leaves it.",
)
@click.argument("name", shell_complete=vm_names("running", "starting"))
def console(*, name: str) -> int:
    from banger.client.terminal import attach_console

    client = connect()
    try:
        access = client.access(name)
    except NotFound as error:
        raise suggest(client, error, name) from None
    note(f"attached to the console of {access['name']}; press Enter for a prompt, Ctrl-] to leave")
    # However it ends, the terminal must be put back.
    with termination_interrupts():
        left = attach_console(
            access["console_socket"],
            sys.stdin.fileno(),
            sys.stdout.fileno(),
            log=access["console_log"],
        )
    note("" if sys.stdout.isatty() else "detached")
    if not left:
        note(f"the console of {access['name']} ended")
    return 0
