"""All commands there are, by the words that call them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from banger.cli.root import root


def commands(
    group: click.Group = root, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command of ``group`` with its words, without aliases; ``group`` itself comes first.

    What hangs in several places, as ``ls`` and ``vm list`` do, comes as often.
    """
    yield words, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        elif command is not None:
            yield (*words, name), command
