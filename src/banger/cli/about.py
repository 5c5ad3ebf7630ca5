"""``version`` and ``help``."""

from __future__ import annotations

import click

from banger import __version__
from banger.build import build_id
from banger.cli.failures import UsageMistake
from banger.cli.lazy import Command
from banger.cli.listing import print_json
from banger.cli.session import paths, say
from banger.cli.topics import TOPICS
from banger.client.autostart import connect_running
from banger.errors import BangerError


@click.command(
    "version",
    cls=Command,
    examples=("banger version", "banger version --json"),
    help="Show the version of the client and of the daemon, if it runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def version(*, as_json: bool) -> None:
    try:
        daemon = connect_running(paths()).about()
    except BangerError:
        daemon = {}
    if as_json:
        print_json(
            {
                "version": __version__,
                "build": build_id(),
                "daemon": {key: daemon.get(key) for key in ("version", "build")} or None
                if daemon
                else None,
            }
        )
        return
    say(f"banger  {__version__} ({build_id()})")
    if daemon:
        say(f"bangerd {daemon.get('version')} ({daemon.get('build')})")
    else:
        say("bangerd is not running")


@click.command(
    "help",
    cls=Command,
    examples=("banger help run", "banger help exit-codes"),
    help="Show the help of a command, or a topic: " + ", ".join(sorted(TOPICS)) + ".",
)
@click.argument("words", nargs=-1, metavar="[COMMAND... | TOPIC]")
@click.pass_context
def help_command(ctx: click.Context, *, words: tuple[str, ...]) -> None:
    if len(words) == 1 and words[0] in TOPICS:
        say(TOPICS[words[0]].strip("\n"))
        return
    context = ctx.find_root()
    command = context.command
    for word in words:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is None:
            topics = ", ".join(sorted(TOPICS))
            raise UsageMistake(
                f"there is no help on {' '.join(words)!r}",
                cause=f"it is neither a command nor one of the topics {topics}",
                resolution="banger --help",
            )
        context = click.Context(found, info_name=word, parent=context)
        command = found
    say(command.get_help(context))
