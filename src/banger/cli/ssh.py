"""``ssh``: OpenSSH with the right key, user, address and pinned host key."""

from __future__ import annotations

import re
import shlex
import sys

import click

from banger.cli.failures import show
from banger.cli.lazy import CONTEXT_SETTINGS, Command
from banger.cli.names import vm_names
from banger.cli.session import connect
from banger.cli.targets import suggest
from banger.client.client import BangerClient
from banger.errors import EXEC_FAILED, BangerError, NotFound

#: Words after the name belong to the guest's command, options too.
FIRST_WORD_ENDS_OPTIONS = {**CONTEXT_SETTINGS, "allow_interspersed_args": False}
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}\Z|[0-9a-fA-F:]*:[0-9a-fA-F:.]*\Z", re.ASCII)


def without_separator(words: tuple[str, ...]) -> list[str]:
    """The guest's command without the ``--`` that may precede it."""
    return list(words[1:] if words[:1] == ("--",) else words)


def resolve(client: BangerClient, target: str) -> str:
    """The id of the VM at ``target`` if that is an IP address, else ``target`` itself."""
    if not _ADDRESS.match(target):
        return target
    for vm in client.vms(("id", "name", "address")):
        if vm["address"] == target:
            return vm["id"]
    raise NotFound(
        f"no VM has the address {target}", cause="it is none of ours", resolution="banger ls"
    )


def remote_command(words: list[str]) -> list[str]:
    """What OpenSSH is given: one word is a shell line of the guest, several are an argv."""
    return words if len(words) == 1 else [shlex.join(words)] if words else []


@click.command(
    "ssh",
    cls=Command,
    examples=("banger ssh web", "banger ssh web -- 'df -h | head -3'"),
    help="Open a shell in a VM, or run COMMAND by SSH. TARGET is a name, an id or an IP address.",
    context_settings=FIRST_WORD_ENDS_OPTIONS,
    options_metavar="[OPTIONS]",
)
@click.option("-t", "--tty", "terminal", is_flag=True, help="A terminal for COMMAND too.")
@click.argument("target", shell_complete=vm_names("running", "starting"))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def ssh(*, terminal: bool, target: str, words: tuple[str, ...]) -> int:
    from banger.client.terminal import exec_ssh

    command = without_separator(words)
    try:
        client = connect()
        try:
            access = client.access(resolve(client, target))
        except NotFound as error:
            raise suggest(client, error, target) from None
        argv = list(access["ssh"])
        if terminal or (not command and sys.stdin is not None and sys.stdin.isatty()):
            argv.insert(1, "-t")
        remote = remote_command(command)
        if remote and not terminal:
            from banger.cli.going_down import run_down
            from banger.model.going_down import line_takes_guest_down

            if line_takes_guest_down(remote[0]):
                return run_down(client, access["id"], [*argv, "--", *remote])
        exec_ssh([*argv, *(["--", *remote] if remote else [])])
    except BangerError as error:
        show(error)
        return EXEC_FAILED
