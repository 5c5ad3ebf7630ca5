"""``image rename`` and ``prune``."""

from __future__ import annotations

import click

from banger.cli.confirm import require_yes
from banger.cli.lazy import Command
from banger.cli.listing import Output, print_json
from banger.cli.names import image_names
from banger.cli.session import connect, say
from banger.cli.targets import Outcome, act, report
from banger.cli.text import clean
from banger.cli.units import format_size
from banger.cli.values import IMAGE_NAME
from banger.client.views import PrunableView


@click.command(
    "rename",
    cls=Command,
    examples=("banger image rename small tools",),
    help="Give an image another name, whether VMs use it or not.",
)
@click.argument("name", shell_complete=image_names)
@click.argument("new_name", type=IMAGE_NAME)
@click.option("-q", "--quiet", is_flag=True, help="The new name only.")
@click.option("--json", "as_json", is_flag=True, help="Print the operation as JSON.")
def rename(*, name: str, new_name: str, quiet: bool, as_json: bool) -> int:
    client = connect()
    outcomes = act(
        client,
        [name],
        lambda ref: client.rename_image(ref, new_name),
        quiet=quiet or as_json,
        known=lambda: [image["name"] for image in client.images()],
    )
    form = "json" if as_json else "table"
    return report(outcomes, f"renamed {clean(name)} to", Output(form, quiet=quiet), shown=new_name)


@click.command(
    "prune",
    cls=Command,
    examples=("banger image prune --dry-run", "banger image prune --yes"),
    help="""Delete the images that no VM uses, what unfinished ones left, and downloaded packages.

    The images that are built on demand stay. An image that you made yourself cannot be had
    again: --dry-run shows what would go.""",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was deleted as JSON.")
def prune(*, dry_run: bool, yes: bool, as_json: bool) -> int:
    client = connect()
    found = client.prunable()
    if not as_json:
        for each in found:
            say(line(each))
    total = format_size(sum(each["bytes"] for each in found))
    if dry_run or not found:
        if as_json:
            print_json(found)
        else:
            say(f"{total} would be freed" if found else "nothing to prune")
        return 0
    images = [each for each in found if each["kind"] == "image"]
    what = f"{len(images)} images and " if images else ""
    require_yes(f"this deletes {what}{total} for good", agreed=yes, again="--yes")
    outcomes: list[Outcome] = act(
        client, [each["id"] for each in images], client.delete_image, quiet=True
    )
    gone = {outcome.ref for outcome in outcomes if outcome.error is None}
    done = [each for each in images if each["id"] in gone] + client.prune()
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    status = report(failed, "", Output("table", quiet=True))
    if as_json:
        print_json(done)
    else:
        say(f"freed {format_size(sum(each['bytes'] for each in done))}")
    return status


def line(each: PrunableView) -> str:
    """One thing for people."""
    return clean(f"{each['kind']:<8} {format_size(each['bytes']):>9}  {each['name']}")
