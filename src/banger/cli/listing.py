"""Prints objects as a table, names only, JSON, JSON lines or CSV, by one set of options."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from banger.cli.session import command_path, say, terminal_width, wants_colour
from banger.cli.table import Column, Painter, render_table
from banger.errors import InvalidInput

Object = Mapping[str, Any]
_F = TypeVar("_F", bound=Callable[..., Any])


class Field(NamedTuple):
    """One thing that is shown of an object: ``key`` names it in ``-c``, ``--sort`` and CSV.

    ``source`` is the key in the API's object (``key`` itself when empty); ``show`` makes the
    cell of a table, and CSV and JSON have the value as it is.
    """

    key: str
    title: str
    show: Callable[[Object], str]
    source: str = ""
    right: bool = False
    shrink: bool = True
    #: Other keys that ``show`` looks at.
    also: tuple[str, ...] = ()

    def value(self, item: Object) -> Any:
        return item.get(self.source or self.key)


class Output(NamedTuple):
    """The chosen output options."""

    format: str = "table"
    columns: str = ""
    sort: str = ""
    header: bool = True
    truncate: bool = True
    quiet: bool = False

    @property
    def json(self) -> bool:
        return self.format in ("json", "jsonl")


def output_options(function: _F) -> _F:
    """Add the output options to a command; they arrive as one ``output`` argument."""
    for decorator in (
        click.option("--no-header", is_flag=True, help="No header line."),
        click.option("--no-trunc", is_flag=True, help="Do not cut columns to the terminal."),
        click.option("--sort", metavar="FIELD", default="", help="Sort by FIELD (-FIELD: down)."),
        click.option("-c", "--columns", metavar="A,B", default="", help="Show these fields."),
        click.option(
            "--format", "form", type=click.Choice(["table", "json", "jsonl", "csv"]),
            default="table", help="Output format.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Same as --format json."),
        click.option("-q", "--quiet", is_flag=True, help="Names only."),
    ):  # fmt: skip
        function = decorator(function)
    return function


def take_output(options: dict[str, Any]) -> Output:
    """Collect what ``output_options`` added, taking it out of a command's arguments."""
    form = "json" if options.pop("as_json") else options["form"]
    del options["form"]
    return Output(
        format=form,
        columns=options.pop("columns"),
        sort=options.pop("sort"),
        header=not options.pop("no_header"),
        truncate=not options.pop("no_trunc"),
        quiet=options.pop("quiet"),
    )


def choose_fields(
    fields: Sequence[Field], default: Sequence[str], output: Output
) -> Sequence[Field]:
    """The fields to show, after checking ``-c`` and ``--sort`` against those there are."""
    known = {field.key: field for field in fields}
    names = [name for name in output.columns.split(",") if name] or list(default)
    for option, name in [("-c", name) for name in names] + [("--sort", output.sort.lstrip("-"))]:
        if name and name not in known:
            raise InvalidInput(
                f"{option} {name}: there is no such field",
                cause="the fields are " + ", ".join(known),
                resolution=f"{command_path()} {option} {default[0]}",
            )
    return [known[name] for name in names]


def wanted_keys(fields: Sequence[Field], chosen: Sequence[Field], output: Output) -> list[str]:
    """The API's keys that are needed, or none to say: all of them."""
    if output.json and not output.columns:
        return []
    used = [*chosen, *(field for field in fields if field.key == output.sort.lstrip("-"))]
    keys = ["id", "name", *(field.source or field.key for field in used)]
    keys += [key for field in used for key in field.also]
    return list(dict.fromkeys(keys))


def _sort_key(value: Any) -> tuple[int, float, str]:
    if value is None or value == "":
        return (2, 0.0, "")
    if isinstance(value, int | float):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def sort_items(items: Sequence[Object], fields: Sequence[Field], sort: str) -> list[Object]:
    """``items`` by the field that ``sort`` names (``-`` before it: descending), else by name."""
    key = sort.lstrip("-") or "name"
    field = next((field for field in fields if field.key == key), None)
    if field is None:
        return list(items)
    ordered = sorted(items, key=lambda item: str(item.get("name", "")))
    return sorted(
        ordered, key=lambda item: _sort_key(field.value(item)), reverse=sort.startswith("-")
    )


def print_items(
    items: Sequence[Object],
    fields: Sequence[Field],
    default: Sequence[str],
    output: Output,
    *,
    painter: Painter | None = None,
    empty: str = "",
) -> None:
    """Print ``items`` as ``output`` asks; ``empty`` is the note for a table without rows."""
    chosen = choose_fields(fields, default, output)
    items = sort_items(items, fields, output.sort)
    if output.quiet and not output.json:
        for item in items:
            say(str(item["name"]))
    elif output.json:
        _print_json(items, chosen if output.columns else (), lines=output.format == "jsonl")
    elif output.format == "csv":
        _print_csv(items, chosen, header=output.header)
    elif not items and empty:
        sys.stdout.flush()
        sys.stderr.write(empty + "\n")
    else:
        columns = [Column(f.key, f.title, right=f.right, shrink=f.shrink) for f in chosen]
        rows = [[field.show(item) for field in chosen] for item in items]
        for line in render_table(
            columns,
            rows,
            columns_wide=terminal_width() if output.truncate else 0,
            header=output.header,
            painter=painter if wants_colour(sys.stdout) else None,
        ):
            say(line)


def _print_json(items: Sequence[Object], chosen: Sequence[Field], *, lines: bool) -> None:
    shown = [
        {f.source or f.key: f.value(item) for f in chosen} if chosen else item for item in items
    ]
    if lines:
        for item in shown:
            say(json.dumps(item, ensure_ascii=False))
    else:
        print_json(shown)


def print_json(value: object) -> None:
    """One JSON value, indented."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def _print_csv(items: Sequence[Object], chosen: Sequence[Field], *, header: bool) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    if header:
        writer.writerow([field.key for field in chosen])
    for item in items:
        writer.writerow(["" if (v := field.value(item)) is None else v for field in chosen])
