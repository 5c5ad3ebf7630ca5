"""``setup``: gives an ordinary user the root side, or takes it back."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from banger.cli.lazy import Command
from banger.cli.session import note, say
from banger.errors import InvalidInput, PermissionRefused
from banger.host.root_side import Place, install, plan, remove, user_of


@click.command(
    "setup",
    cls=Command,
    examples=("banger setup --dry-run", "sudo banger setup", "sudo banger setup --remove"),
    help="Let a user have TAP interfaces and NAT: install the root side, a folder that only root"
    " can change, with one line for sudo. Root itself needs none.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and every line for sudo.")
@click.option("--remove", "take_back", is_flag=True, help="Take back what setup has done.")
@click.option("--user", metavar="NAME", default="", help="For this user (who called sudo).")
def setup(*, dry_run: bool, take_back: bool, user: str) -> None:
    if dry_run and take_back:
        raise InvalidInput(
            "--dry-run and --remove exclude each other",
            cause="--remove only removes what setup has written",
            resolution="banger setup --dry-run",
        )
    uid, place = user_of(user), Place()
    if take_back:
        for text in remove(uid, place) or ["nothing of it was there"]:
            say(text)
        return
    if dry_run:
        changes = list(plan(uid, place))
        for change in changes:
            say(change.text)
            if change.content is not None and change.path.parent == place.sudoers_folder:
                say("".join(f"    {line}\n" for line in change.content.decode().splitlines()))
    else:
        try:
            changes = install(uid, place)
        except PermissionRefused as refused:
            # sudo looks for programs in folders of its own, where ours need not be.
            refused.resolution = f"sudo {Path(sys.argv[0]).absolute()} setup"
            raise
        for change in changes:
            say(change.text)
    if not changes:
        note("nothing to do" + (": root needs no root side" if uid == 0 else ""))
    elif not dry_run:
        note("done: banger daemon restart lets a running bangerd see it")
