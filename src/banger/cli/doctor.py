"""``doctor``: what this machine has and lacks, with the command that mends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from banger.cli.lazy import Command
from banger.cli.listing import print_json
from banger.cli.session import paths, say, settings, terminal_width, wants_colour
from banger.cli.sheet import wrap
from banger.cli.text import clean, pad, paint, width
from banger.errors import HostNotReady
from banger.host.finding import Check
from banger.host.probe import Report, examine

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    "doctor",
    cls=Command,
    examples=("banger doctor", "banger doctor --json"),
    help="Check this machine: what is needed, what was found, and the command that mends it."
    " Works without the daemon; exit status 9 when no VM can run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--refresh", is_flag=True, help="Try KVM again; its verdict is kept until a reboot.")
@click.option("--orphans", is_flag=True, help="List what carries banger's marks, and whose it is.")
@click.option("-q", "--quiet", is_flag=True, help="Only what is not ok.")
def doctor(*, as_json: bool, refresh: bool, orphans: bool, quiet: bool) -> int:
    if orphans:
        return _orphans(as_json=as_json, quiet=quiet)
    report = examine(paths(), settings(), refresh=refresh)
    if as_json:
        print_json(as_data(report))
    else:
        colour = wants_colour(sys.stdout)
        for line in render(report, terminal_width(), colour=colour, only_bad=quiet):
            say(line)
    return 0 if report.usable else HostNotReady.exit_status


def _orphans(*, as_json: bool, quiet: bool) -> int:
    """Every marked object; with ``quiet`` only the leaked ones."""
    from banger.cli.system import as_data as data_of
    from banger.cli.system import line
    from banger.host.orphans import Verdict
    from banger.host.prune import look

    found = look(paths(), os.geteuid())
    shown = [each for each in found if not quiet or each.verdict is Verdict.LEAKED]
    if as_json:
        print_json([data_of(each) for each in shown])
        return 0
    for each in shown:
        say(line(each))
    count = sum(each.verdict is Verdict.LEAKED for each in found)
    say(f"{count} leaked: banger system prune" if count else "nothing is leaked")
    return 0


def choices(report: Report) -> list[tuple[str, str, str]]:
    """Kind, name and reason of each driver that ``auto`` means here."""
    choice = report.choice
    kinds = {
        "vmm": choice.vmm,
        "accelerator": choice.accelerator,
        "storage": choice.storage,
        "network": choice.network,
    }
    return [(kind, chosen.name, chosen.reason) for kind, chosen in kinds.items()]


def as_data(report: Report) -> dict[str, object]:
    """The report as JSON values."""
    return {
        "usable": report.usable,
        "checks": [
            {
                "name": check.name,
                "status": str(check.status),
                "purpose": check.purpose,
                "needed_for": check.needed_for,
                "found": check.found,
                "resolution": check.resolution,
            }
            for check in report.checks
        ],
        "drivers": {
            kind: {"name": name, "reason": reason} for kind, name, reason in choices(report)
        },
    }


def render(report: Report, columns: int, *, colour: bool, only_bad: bool) -> Iterator[str]:
    """The report for people, wrapped to ``columns`` (0: not at all)."""
    shown = [check for check in report.checks if not only_bad or check.status != "ok"]
    indent = max((width(check.name) for check in shown), default=0) + 8
    for check in shown:
        status = paint(pad(str(check.status), 4), STYLES[str(check.status)], colour=colour)
        found = _wrapped(check.found, columns, indent)
        yield f"{status}  {pad(clean(check.name), indent - 6)}{found[0]}"
        yield from (" " * indent + line for line in found[1:])
        yield from (" " * indent + line for line in _explained(check, columns, indent))
    if not only_bad:
        yield ""
        for kind, name, reason in choices(report):
            lines = _wrapped(f"{name}: {reason}", columns, 13)
            yield f"{pad(kind, 13)}{lines[0]}"
            yield from (" " * 13 + line for line in lines[1:])
        yield ""
    yield _verdict(report)


def _explained(check: Check, columns: int, indent: int) -> Iterator[str]:
    """For what is not ok: what it is for, and the cure."""
    if check.status == "ok":
        return
    purpose = check.purpose
    if check.needed_for:
        purpose = f"{purpose} (needed for {check.needed_for})"
    yield from _wrapped(purpose, columns, indent)
    if check.resolution:
        # A command is never broken, so that it can be copied.
        yield f"try: {clean(check.resolution)}"


def _wrapped(text: str, columns: int, indent: int) -> list[str]:
    return wrap(clean(text), max(columns - indent, 20)) if columns else [clean(text)]


def _verdict(report: Report) -> str:
    bad = sum(check.status != "ok" for check in report.checks)
    if not report.usable:
        return "no VM can run here until what says fail is mended"
    if bad:
        return f"VMs can run here; {bad} things could be better"
    return "VMs can run here"
