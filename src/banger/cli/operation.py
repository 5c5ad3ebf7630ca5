"""``operation list``, ``show``, ``wait`` and ``cancel``."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.failures import show as show_error
from banger.cli.lazy import Command
from banger.cli.listing import (
    Field,
    Object,
    output_options,
    print_items,
    print_json,
    take_output,
)
from banger.cli.moments import age, unix_time
from banger.cli.names import operation_ids
from banger.cli.progress import complete, label
from banger.cli.session import connect, say
from banger.cli.sheet import print_sheet
from banger.cli.targets import detach
from banger.cli.units import format_age
from banger.client.client import BangerClient
from banger.client.views import OperationView, ended
from banger.errors import PARTLY_FAILED, BangerError, Conflict, NotFound


def _target(item: Object) -> str:
    return str((item.get("target") or {}).get("name") or "-")


def _took(item: Object) -> str:
    began, ended_at = unix_time(item.get("created_at")), unix_time(item.get("ended_at"))
    return format_age(ended_at - began) if began and ended_at else "-"


FIELDS = [
    Field("id", "ID", lambda item: str(item["id"]), shrink=False),
    Field("kind", "KIND", lambda item: str(item["kind"])),
    Field("target", "TARGET", _target),
    Field("status", "STATUS", lambda item: str(item["status"])),
    Field("created", "AGE", lambda i: age(i.get("created_at")), source="created_at", right=True),
    Field("took", "TOOK", _took, source="ended_at", right=True),
    Field("error", "ERROR", lambda item: (item.get("error") or {}).get("brief", "-") or "-"),
]
DEFAULT = ("id", "kind", "target", "status", "created", "took", "error")


def find_operation(client: BangerClient, ref: str) -> OperationView:
    """The operation with this id, or the only one whose id begins so."""
    try:
        return client.operation(ref)
    except NotFound:
        matches = [o for o in client.operations(active=False) if ref and o["id"].startswith(ref)]
        if len(matches) > 1:
            raise Conflict(
                f"several operations begin with {ref}",
                cause=", ".join(operation["id"] for operation in matches[:5]),
                resolution="give more of the id",
            ) from None
        if not matches:
            raise
        return matches[0]


@click.command(
    "list",
    cls=Command,
    examples=("banger operation list", "banger op ls --active"),
    help="List operations, the latest last.",
)
@click.option("--active", is_flag=True, help="Only those that still run.")
@output_options
def list_operations(*, active: bool, **options: Any) -> None:
    output = take_output(options)
    operations: list[Object] = list(connect().operations(active=active))
    if not output.sort:
        output = output._replace(sort="created")
    if output.quiet and not output.json:
        for operation in operations:
            say(str(operation["id"]))
        return
    print_items(operations, FIELDS, DEFAULT, output, empty="no operations")


@click.command(
    "show",
    cls=Command,
    examples=("banger operation show 7f3c", "banger op show 7f3c --json"),
    help="Show an operation, its steps and its error.",
)
@click.argument("name", metavar="ID", shell_complete=operation_ids)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(*, name: str, as_json: bool) -> None:
    operation = find_operation(connect(), name)
    if as_json:
        print_json(operation)
        return
    rows = [
        ("id", operation["id"]),
        ("does", label(operation)),
        ("status", operation["status"]),
        ("created", f"{operation['created_at']} ({age(operation['created_at'])} ago)"),
        ("took", _took(operation).replace("-", "")),
        ("log", operation["log"] or ""),
    ]
    rows += [("step", f"{step['title']}: {step['phase']}") for step in operation["steps"]]
    if error := operation["error"]:
        rows += [
            ("error", error.get("brief", "")),
            ("cause", error.get("cause", "")),
            ("try", error.get("resolution", "")),
        ]
    print_sheet(rows)


@click.command(
    "wait",
    cls=Command,
    examples=("banger operation wait 7f3c", "banger op wait 7f3c && echo done"),
    help="Follow an operation until it ends; fails as the operation does.",
)
@click.argument("name", metavar="ID", shell_complete=operation_ids)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def wait(*, name: str, quiet: bool) -> None:
    client = connect()
    operation = find_operation(client, name)
    try:
        operation = complete(client, operation, quiet=quiet)
    except KeyboardInterrupt:
        detach([operation])
        raise
    if not quiet:
        say(f"{label(operation)}: {operation['status']}")


@click.command(
    "cancel",
    cls=Command,
    examples=("banger operation cancel 7f3c",),
    help="Cancel operations and undo what they made.",
)
@click.argument("names", nargs=-1, required=True, metavar="ID...", shell_complete=operation_ids)
@click.option("-q", "--quiet", is_flag=True, help="Nothing on success.")
def cancel(*, names: tuple[str, ...], quiet: bool) -> int:
    client = connect()
    failures: list[BangerError] = []
    for name in names:
        try:
            operation = client.cancel(find_operation(client, name)["id"])
            while not ended(operation):
                operation = client.operation(operation["id"], wait=20)
        except BangerError as error:
            failures.append(error)
            show_error(error)
        else:
            if not quiet:
                say(f"{label(operation)}: {operation['status']}")
    if failures and len(failures) < len(names):
        return PARTLY_FAILED
    return failures[0].exit_status if failures else 0
