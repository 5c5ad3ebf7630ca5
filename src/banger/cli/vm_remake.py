"""``vm clone`` and ``vm rebuild``."""

from __future__ import annotations

import shlex

import click

from banger.cli.confirm import require_yes
from banger.cli.lazy import Command
from banger.cli.listing import Output
from banger.cli.names import image_names, vm_names
from banger.cli.session import connect, note
from banger.cli.targets import act, expand, report
from banger.cli.text import clean
from banger.cli.values import IMAGE_NAME, VM_NAME
from banger.cli.vm_power import targets

#: The states in which each is legal, those of ``banger.model.lifecycle``.
CLONEABLE = ("stopped", "failed")
REBUILDABLE = ("stopped", "failed")


@click.command(
    "clone",
    cls=Command,
    examples=("banger vm clone web web-2", "banger vm clone 3fa2 db"),
    help="""Copy a stopped VM with its disks.

    The copy has an address, a host name and keys of its own; published ports stay with the VM
    that has them.""",
)
@click.argument("name", shell_complete=vm_names(*CLONEABLE))
@click.argument("new_name", type=VM_NAME)
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the operation as JSON.")
def clone(*, name: str, new_name: str, quiet: bool, as_json: bool) -> int:
    client = connect()
    outcomes = act(
        client,
        [name],
        lambda ref: client.act(ref, "clone", {"name": new_name}),
        quiet=quiet or as_json,
    )
    form = "json" if as_json else "table"
    return report(outcomes, f"cloned {clean(name)} to", Output(form, quiet=quiet), shown=new_name)


@click.command(
    "rebuild",
    cls=Command,
    examples=("banger vm rebuild web", "banger vm rebuild web --image debian --yes"),
    help="""Give stopped VMs a new root file system, from their image as it is now or another.

    Name, address, host key and work disk stay. All else that a VM has written is lost.""",
)
@targets(*REBUILDABLE)
@click.option(
    "--image", type=IMAGE_NAME, metavar="NAME", shell_complete=image_names,
    help="Image to take instead of its own.",
)  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rebuild(
    *,
    names: tuple[str, ...],
    everything: bool,
    quiet: bool,
    as_json: bool,
    image: str | None,
    yes: bool,
) -> int:
    client = connect()
    refs = expand(client, names, everything=everything, states=REBUILDABLE)
    if everything and not refs:
        if not quiet:
            note("no VM to rebuild")
        return 0
    whose = clean(refs[0]) if len(refs) == 1 and not everything else f"{len(refs)} VMs"
    again = [*(("--all",) if everything else map(shlex.quote, names)), "--yes"]
    if image:
        again[-1:] = ["--image", image, "--yes"]
    require_yes(
        f"this throws away all that {whose} wrote outside the work disk",
        agreed=yes,
        again=" ".join(again),
    )
    body = {"image": image} if image else {}
    outcomes = act(
        client, refs, lambda ref: client.act(ref, "rebuild", body), quiet=quiet or as_json
    )
    return report(outcomes, "rebuilt", Output("json" if as_json else "table", quiet=quiet))
