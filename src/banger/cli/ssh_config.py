"""``ssh-config``: VMs as hosts of OpenSSH's own configuration."""

from __future__ import annotations

import os
from pathlib import Path

import click

from banger.cli.lazy import Command
from banger.cli.names import vm_names
from banger.cli.session import command_path, connect, note, paths, say
from banger.cli.ssh_include import edit
from banger.cli.vm_show import find_vm
from banger.errors import InvalidInput, NotFound


@click.command(
    "ssh-config",
    cls=Command,
    examples=(
        "banger ssh-config --install",
        "banger ssh-config web",
        "banger ssh-config --remove",
    ),
    help="""Print OpenSSH's configuration for VMs, or let your own include it.

    With it, plain ssh, scp, sftp, rsync and the remote modes of editors reach every VM as
    NAME.vm, with its pinned host key. It is kept true: VMs made later are in it.""",
)
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=vm_names())
@click.option("--install", is_flag=True, help="Include it at the head of ~/.ssh/config.")
@click.option("--remove", is_flag=True, help="Take that line out again.")
@click.option(
    "--file", "target", metavar="FILE", default="~/.ssh/config", show_default=True,
    help="The file to change, with --install or --remove.",
)  # fmt: skip
def ssh_config(*, names: tuple[str, ...], install: bool, remove: bool, target: str) -> None:
    if (install and remove) or ((install or remove) and names):
        raise InvalidInput(
            "--install, --remove and names exclude each other",
            cause="the file that is included always holds every VM",
            resolution=f"{command_path()} --install",
        )
    ours = paths().ssh_config
    path = Path(target).expanduser().absolute()
    if remove:
        changed = edit(path, ours, present=False)
        say(f"{path} no longer includes it" if changed else f"{path} does not include it")
        return
    client = connect()
    text = ours.read_text(encoding="utf-8") if ours.exists() else ""
    if install:
        done = edit(path, ours, present=True)
        say(f"{path} now includes {ours}" if done else f"{path} includes {ours} already")
        _tell_other_home(path)
        return
    wanted = [str(find_vm(client, name)["name"]) for name in names]
    blocks = {block.split(maxsplit=1)[0]: "Host " + block for block in text.split("\nHost ")[1:]}
    missing = [name for name in wanted if f"{name}.vm" not in blocks]
    if missing:
        raise NotFound(
            f"{missing[0]} cannot be reached by SSH yet",
            cause="it is being made",
            resolution=f"banger show {missing[0]}",
        )
    chosen = [blocks[f"{name}.vm"] for name in dict.fromkeys(wanted)] or list(blocks.values())
    say("\n\n".join(block.strip() for block in chosen))
    if not blocks:
        note("no VMs yet; make one with: banger run")


def _tell_other_home(path: Path) -> None:
    """ssh asks the user database for the home, and not the environment."""
    import pwd

    try:
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return
    if path.name == "config" and path != home / ".ssh/config":
        note(f"ssh itself reads {home / '.ssh/config'}; to use this file: ssh -F {path} NAME.vm")
