"""``vm forward add``, ``list`` and ``rm``: ports of VMs on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from banger.cli.lazy import Command
from banger.cli.listing import (
    Field,
    Object,
    Output,
    choose_fields,
    output_options,
    print_items,
    print_json,
    take_output,
)
from banger.cli.names import port_texts, vm_names
from banger.cli.ports import Port, PublishedPort, parse_port, parse_published, port_text
from banger.cli.session import connect, note, say
from banger.cli.targets import act, report
from banger.cli.values import Checked
from banger.cli.vm_show import find_vm
from banger.client.client import BangerClient
from banger.client.views import OperationView, VMView
from banger.errors import InvalidInput, NotFound

FIELDS = [
    Field("name", "NAME", lambda item: str(item["name"]), shrink=False),
    Field("state", "STATE", lambda item: str(item["state"])),
    Field("port", "PORT", lambda item: str(item["port"])),
    Field("host_port", "HOST", lambda item: str(item["host_port"]), right=True),
    Field("guest_port", "GUEST", lambda item: str(item["guest_port"]), right=True),
    Field("protocol", "PROTOCOL", lambda item: str(item["protocol"])),
]
DEFAULT = ("name", "state", "host_port", "guest_port", "protocol")


@click.command(
    "add",
    cls=Command,
    examples=(
        "banger vm forward web 8080:80",
        "banger vm forward add dns 5353:53/udp 8080:80",
        "banger vm forward web",
    ),
    help="""Publish ports of a VM on the host, for the host itself and for others.

    They are kept until they are taken back, across stop and start. Without a port, show those
    that are published.""",
)
@click.argument("name", shell_complete=vm_names())
@click.argument("ports", nargs=-1, type=Checked("port", parse_port),
                metavar="[HOSTPORT:GUESTPORT[/udp]...]")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def add(*, name: str, ports: tuple[Port, ...], quiet: bool, as_json: bool) -> int | None:
    client = connect()
    if ports:
        bodies = [{**port._asdict(), "remove": False} for port in ports]
        return _change(client, name, bodies, f"{name} publishes", quiet=quiet, as_json=as_json)
    published = find_vm(client, name)["forwards"]
    if as_json:
        print_json(published)
        return None
    for shown in published:
        say(port_text(shown))
    if not published and not quiet:
        note(f"{name} publishes no port")
    return None


@click.command(
    "list",
    cls=Command,
    examples=("banger vm forward list", "banger vm forward list web --json"),
    help="List the published ports of all VMs or of some. They work while the VM runs.",
)
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=vm_names())
@output_options
def list_forwards(*, names: tuple[str, ...], **options: Any) -> None:
    output = take_output(options)
    choose_fields(FIELDS, DEFAULT, output)
    client = connect()
    vms: Sequence[VMView] = (
        [find_vm(client, ref) for ref in names]
        if names
        else client.vms(("id", "name", "state", "forwards"))
    )
    rows: list[Object] = [
        {
            "id": vm["id"],
            "name": vm["name"],
            "state": vm["state"],
            "port": port_text(forward),
            **forward,
        }
        for vm in vms
        for forward in vm["forwards"]
    ]
    print_items(rows, FIELDS, DEFAULT, output, empty="no port is published")


@click.command(
    "rm",
    cls=Command,
    examples=("banger vm forward rm web 8080", "banger vm forward rm web --all"),
    help="Take published ports of a VM back; PORT is the host's.",
)
@click.argument("name", shell_complete=vm_names())
@click.argument("ports", nargs=-1, type=Checked("port", parse_published), metavar="PORT[/udp]...",
                shell_complete=port_texts)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Every port that it publishes.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the operations as JSON.")
def remove(
    *, name: str, ports: tuple[PublishedPort, ...], everything: bool, quiet: bool, as_json: bool
) -> int:
    if bool(ports) == everything:
        raise InvalidInput(
            "ports and --all exclude each other" if ports else "no port is named",
            cause="either some ports of the host or --all is given",
            resolution=f"banger vm forward list {name}",
        )
    client = connect()
    published = find_vm(client, name)["forwards"]
    found = list(published) if everything else [_meant(name, published, port) for port in ports]
    if not found and not quiet:
        note(f"{name} publishes no port")
    bodies = [{**forward, "remove": True} for forward in found]
    done = f"{name} no longer publishes"
    return _change(client, name, bodies, done, quiet=quiet, as_json=as_json)


def _meant(name: str, published: Sequence[Any], port: PublishedPort) -> Any:
    """The published port that ``port`` names; TCP where nothing is said and both are there."""
    for forward in sorted(published, key=lambda forward: str(forward["protocol"])):
        if port.fits(forward):
            return forward
    raise NotFound(
        f"{name} does not publish {port.text}",
        cause="published: " + (", ".join(map(port_text, published)) or "nothing"),
        resolution=f"banger vm forward list {name}",
    )


def _change(
    client: BangerClient,
    name: str,
    bodies: Sequence[dict[str, Any]],
    done: str,
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    """One operation for each port, one after the other; the exit status."""
    output = Output("json" if as_json else "table", quiet=quiet)
    statuses = []
    for body in bodies:
        outcomes = act(client, [name], _asking(client, body), quiet=quiet or as_json)
        statuses.append(report(outcomes, done, output, shown=port_text(body)))
    return max(statuses, default=0)


def _asking(client: BangerClient, body: dict[str, Any]) -> Callable[[str], OperationView]:
    return lambda ref: client.forward(ref, body)
