"""``vm forward``: publishes ports of VMs on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from banger.cli.lazy import Command
from banger.cli.listing import Output, print_json
from banger.cli.names import vm_names
from banger.cli.ports import Port, parse_port, port_text
from banger.cli.session import command_path, connect, note, say
from banger.cli.targets import act, report
from banger.cli.values import Checked
from banger.cli.vm_show import find_vm
from banger.client.client import BangerClient
from banger.client.views import OperationView
from banger.errors import InvalidInput


@click.command(
    "forward",
    cls=Command,
    examples=(
        "banger vm forward web 8080:80",
        "banger vm forward dns 5353:53/udp",
        "banger vm forward web",
        "banger vm forward web --rm 8080:80",
    ),
    help="Publish ports of a VM on the host, for the host itself and for others;"
    " without a port, list them.",
)
@click.argument("name", shell_complete=vm_names())
@click.argument("ports", nargs=-1, type=Checked("port", parse_port),
                metavar="[HOSTPORT:GUESTPORT[/udp]...]")  # fmt: skip
@click.option("--rm", "remove", is_flag=True, help="Take the ports back.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def forward(
    *, name: str, ports: tuple[Port, ...], remove: bool, quiet: bool, as_json: bool
) -> int | None:
    client = connect()
    if not ports:
        if remove:
            raise InvalidInput(
                "--rm is given without a port",
                cause="it takes back the ports that are named",
                resolution=f"{command_path()} {name}",
            )
        published = find_vm(client, name)["forwards"]
        if as_json:
            print_json(published)
        for shown in () if as_json else published:
            say(port_text(shown))
        if not published and not (as_json or quiet):
            note(f"{name} publishes no port")
        return None
    form = "json" if as_json else "table"
    done = f"{name} no longer publishes" if remove else f"{name} publishes"
    status = 0
    for port in ports:
        body = {**port._asdict(), "remove": remove}
        outcomes = act(client, [name], _asking(client, body), quiet=quiet or as_json)
        status = max(status, report(outcomes, done, Output(form, quiet=quiet), shown=port.text))
    return status


def _asking(client: BangerClient, body: dict[str, Any]) -> Callable[[str], OperationView]:
    return lambda ref: client.forward(ref, body)
