"""``vm delete`` and ``vm rename``."""

from __future__ import annotations

import click

from banger.cli.confirm import require_yes
from banger.cli.lazy import Command
from banger.cli.listing import Output
from banger.cli.names import vm_names
from banger.cli.session import connect, note
from banger.cli.targets import act, expand, report
from banger.cli.values import VM_NAME
from banger.cli.vm_power import targets

#: The states in which a VM is deleted without force, those of ``banger.model.lifecycle``.
DELETABLE = ("stopped", "failed")


@click.command(
    "delete",
    cls=Command,
    examples=("banger rm web", "banger rm -f web db", "banger rm --all"),
    help="Delete VMs and their disks. A running VM is refused without --force.",
)
@targets()
@click.option("-f", "--force", is_flag=True, help="Also running VMs; they are killed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(
    *,
    names: tuple[str, ...],
    everything: bool,
    quiet: bool,
    as_json: bool,
    force: bool,
    yes: bool,
) -> int:
    client = connect()
    refs = expand(client, names, everything=everything, states=() if force else DELETABLE)
    if everything and not refs:
        if not quiet:
            note("no VM to delete" + ("" if force else " (running ones need --force)"))
        return 0
    if everything:
        what = "1 VM and its disks" if len(refs) == 1 else f"all {len(refs)} VMs and their disks"
        require_yes(f"this deletes {what}", agreed=yes or force)
    outcomes = act(
        client, refs, lambda ref: client.delete_vm(ref, force=force), quiet=quiet or as_json
    )
    return report(outcomes, "deleted", Output("json" if as_json else "table", quiet=quiet))


@click.command(
    "rename",
    cls=Command,
    examples=("banger rename calm-otter web", "banger vm rename 3fa2 db"),
    help="Give a stopped VM another name.",
)
@click.argument("name", shell_complete=vm_names(*DELETABLE))
@click.argument("new_name", type=VM_NAME)
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the operation as JSON.")
def rename(*, name: str, new_name: str, quiet: bool, as_json: bool) -> int:
    client = connect()
    outcomes = act(
        client, [name], lambda ref: client.rename_vm(ref, new_name), quiet=quiet or as_json
    )
    form = "json" if as_json else "table"
    return report(outcomes, f"renamed {name} to", Output(form, quiet=quiet), shown=new_name)
