"""``vm set``: memory, virtual CPUs and disks of VMs."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.lazy import Command
from banger.cli.listing import Output
from banger.cli.names import vm_names
from banger.cli.session import command_path, connect, note
from banger.cli.targets import act, expand, report
from banger.cli.values import DISK_SIZE, MEMORY, VCPUS
from banger.errors import InvalidInput

#: The states of ``banger.model.lifecycle``: of any change, and of what a running VM allows too.
CHANGEABLE = ("stopped", "failed")
GROWABLE = (*CHANGEABLE, "running", "paused")
#: Option's argument name -> field of the request.
BODY = {
    "vcpus": "vcpus",
    "memory": "memory_mib",
    "overlay_size": "overlay_bytes",
    "disk_size": "work_disk_bytes",
    "restart": "restart",
}


def _states(options: dict[str, Any]) -> tuple[str, ...]:
    given = {key for key in BODY if options.get(key) is not None}
    return GROWABLE if given and given <= {"overlay_size", "restart"} else CHANGEABLE


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return vm_names(*_states(ctx.params))(ctx, param, incomplete)


@click.command(
    "set",
    cls=Command,
    examples=(
        "banger vm set web --memory 2G --vcpu 4",
        "banger vm set web db --disk-size 32G",
        "banger vm set web --restart always",
    ),
    help="""Change memory, virtual CPUs and disks of stopped VMs.

    Disks only grow, and the file system in them with them; --disk-size also adds a work disk.""",
)
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=_names)
@click.option("--vcpu", "--vcpus", "vcpus", type=VCPUS, metavar="N", help="Virtual CPUs.")
@click.option(
    "--ram", "--memory", "memory", type=MEMORY, metavar="SIZE", help="Memory: MiB, or 512M, 2G."
)
@click.option(
    "--disk-size", type=DISK_SIZE, metavar="SIZE", help="Size of the work disk, added if missing."
)
@click.option(
    "--overlay-size", type=DISK_SIZE, metavar="SIZE", help="Most that it may write over its image."
)
@click.option(
    "--restart",
    type=click.Choice(["no", "always"]),
    help="always: start it again when it ends unasked, or the host does.",
)
@click.option("--all", "everything", is_flag=True, help="Every VM it can be done to.")
@click.option("-q", "--quiet", is_flag=True, help="Names only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the operations as JSON.")
def set_vm(
    *, names: tuple[str, ...], everything: bool, quiet: bool, as_json: bool, **options: Any
) -> int:
    body = {field: options[key] for key, field in BODY.items() if options[key] is not None}
    if not body:
        raise InvalidInput(
            "nothing is to be changed",
            cause="no option says what",
            resolution=f"{command_path()} {' '.join(names) or 'NAME'} --memory 2G",
        )
    client = connect()
    refs = expand(client, names, everything=everything, states=_states(options))
    if everything and not refs and not quiet:
        note("no VM to change")
    outcomes = act(client, refs, lambda ref: client.act(ref, "set", body), quiet=quiet or as_json)
    return report(outcomes, "changed", Output("json" if as_json else "table", quiet=quiet))
