"""``system prune``: removes what no VM owns any more."""

from __future__ import annotations

import os

import click

from banger.cli.confirm import require_yes
from banger.cli.lazy import Command
from banger.cli.listing import print_json
from banger.cli.session import note, paths, say
from banger.cli.text import clean
from banger.host.orphans import HostObject
from banger.host.prune import leaked, remove


@click.command(
    "prune",
    cls=Command,
    examples=("banger system prune --dry-run", "banger system prune --yes"),
    help="Remove what carries your mark and belongs to no VM: VMMs, interfaces, rules, devices,"
    " jails and sockets. Two looks, some seconds apart, must agree. No VM is touched, and nothing"
    " without a mark. What there is: banger doctor --orphans.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
def prune(*, dry_run: bool, yes: bool, as_json: bool) -> int:
    found = leaked(paths(), os.geteuid())
    if found and not as_json:
        for each in found:
            say(line(each))
    outcome = []
    if found and not dry_run:
        require_yes(f"{len(found)} leaked objects would be removed", agreed=yes, again="--yes")
        outcome = remove(found, paths(), os.geteuid())
    for each, problem in outcome:
        if problem:
            note(f"{each.kind} {each.name} stays: {problem}")
    if as_json:
        print_json([as_data(each) for each in found])
    elif not found:
        say("nothing is leaked")
    return 1 if any(problem for _, problem in outcome) else 0


def line(each: HostObject) -> str:
    """One object for people."""
    return clean(f"{each.verdict:<8} {each.kind:<10} {each.name}  {each.detail}").rstrip()


def as_data(each: HostObject) -> dict[str, str]:
    """One object as JSON values."""
    return {
        "kind": each.kind,
        "name": each.name,
        "vm_id": each.vm_id,
        "verdict": str(each.verdict),
        "detail": each.detail,
    }
