"""``completion``: the shell's side of it, and the answers to its questions."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from banger.cli.lazy import Command
from banger.cli.session import say

VARIABLE = "_BANGER_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def answer(environ: Mapping[str, str]) -> int:
    """Print the completions that the shell asks for; whatever goes wrong, say nothing."""
    from click.shell_completion import shell_complete

    from banger.cli.root import root

    # The descriptor, not only the stream: nothing may appear in the middle of a command line.
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 2)
    try:
        return shell_complete(root, {}, "banger", VARIABLE, environ[VARIABLE])
    except Exception:  # noqa: BLE001 - no completion is better than a traceback in the prompt
        return 1


@click.command(
    "completion",
    cls=Command,
    examples=(
        'eval "$(banger completion bash)"',
        "banger completion fish > ~/.config/fish/completions/banger.fish",
    ),
    help="Print the completion for a shell; names of VMs and images are completed too.",
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(*, shell: str) -> None:
    from click.shell_completion import get_completion_class

    from banger.cli.root import root

    kind = get_completion_class(shell)
    if kind is not None:
        # Not source(): for bash that would run bash to ask for its version.
        script = kind(root, {}, "banger", VARIABLE)
        say((script.source_template % script.source_vars()).strip("\n"))
