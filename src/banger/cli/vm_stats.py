"""``vm stats``: what running VMs use, once or as a table that lives."""

from __future__ import annotations

import sys
import time
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
    sort_items,
    take_output,
)
from banger.cli.names import vm_names
from banger.cli.redraw import Redrawn
from banger.cli.session import animates, connect, terminal_width
from banger.cli.table import Column, render_table
from banger.cli.targets import expand
from banger.cli.units import format_age, format_size
from banger.cli.vm_show import find_vm
from banger.client.client import BangerClient
from banger.client.rates import with_rates
from banger.client.views import StatsView
from banger.errors import Conflict

#: Seconds between the two looks that make the first figures: ten ticks of the kernel's clock of
#: processor time make 10 %, and a person waits for it.
_FIRST_INTERVAL = 0.5
_LIVE_STATES = ("running", "paused", "stopping")


def _percent(key: str) -> Callable[[Object], str]:
    return lambda item: "-" if item.get(key) is None else f"{item[key]:.1f}%"


def _size(key: str, suffix: str = "") -> Callable[[Object], str]:
    return lambda item: "-" if item.get(key) is None else f"{format_size(item[key])}{suffix}"


def _pair(first: str, second: str, suffix: str = "") -> Callable[[Object], str]:
    def show(item: Object) -> str:
        if item.get(first) is None or item.get(second) is None:
            return "-"
        return f"{format_size(item[first])}{suffix} / {format_size(item[second])}{suffix}"

    return show


def _count(key: str) -> Callable[[Object], str]:
    return lambda item: "-" if item.get(key) is None else str(item[key])


def _right(key: str, title: str, show: Callable[[Object], str], source: str = "") -> Field:
    return Field(key, title, show, source=source, right=True, shrink=False)


FIELDS = [
    Field("name", "NAME", lambda item: str(item["name"])),
    Field("id", "ID", lambda item: str(item["id"]), shrink=False),
    Field("state", "STATE", lambda item: str(item["state"])),
    _right("cpu", "CPU", _percent("cpu_percent"), "cpu_percent"),
    _right("vcpu", "OF ITS CPUS", _percent("vcpu_percent"), "vcpu_percent"),
    _right("memory", "MEMORY", _pair("resident_bytes", "memory_bytes"), "resident_bytes"),
    _right("pss", "PSS", _size("proportional_bytes"), "proportional_bytes"),
    _right(
        "disk", "DISK R / W", _pair("disk_read_bytes", "disk_written_bytes"), "disk_written_bytes"
    ),
    _right("read", "READ", _size("disk_read_rate", "/s"), "disk_read_rate"),
    _right("written", "WRITTEN", _size("disk_written_rate", "/s"), "disk_written_rate"),
    _right(
        "overlay", "OVERLAY", _pair("overlay_used_bytes", "overlay_bytes"), "overlay_used_bytes"
    ),
    _right("net", "NET IN / OUT", _pair("received_bytes", "sent_bytes"), "received_bytes"),
    _right("in", "IN", _size("received_rate", "/s"), "received_rate"),
    _right("out", "OUT", _size("sent_rate", "/s"), "sent_rate"),
    _right("packets", "PACKETS IN", _count("received_packets"), "received_packets"),
    _right("sent", "PACKETS OUT", _count("sent_packets"), "sent_packets"),
    _right("drops", "DROPS IN", _count("received_drops"), "received_drops"),
    _right("lost", "DROPS OUT", _count("sent_drops"), "sent_drops"),
    _right("uptime", "UP", lambda item: format_age(item["uptime_seconds"]), "uptime_seconds"),
]
DEFAULT = ("name", "cpu", "memory", "disk", "overlay", "net", "uptime")
_EMPTY = "no VM runs; start one with: banger start NAME"


@click.command(
    "stats",
    cls=Command,
    examples=(
        "banger stats",
        "banger stats web --json | jq .[0].cpu_percent",
        "banger stats -c name,cpu,read,written,in,out --sort -cpu",
    ),
    help="""Show what running VMs use: CPU of one core, memory that the VMM holds of the guest's,
    disk, overlay and network since the start. On a terminal the table lives until Ctrl-C.""",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=vm_names("running"))
@click.option("--no-stream", is_flag=True, help="Once, also on a terminal.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True,
    metavar="SECONDS", help="Between two looks.",
)  # fmt: skip
@output_options
def stats(*, names: tuple[str, ...], no_stream: bool, interval: float, **rest: Any) -> None:
    output = take_output(rest)
    choose_fields(FIELDS, DEFAULT, output)
    client = connect()
    wanted = _running(client, names) if names else None
    live = output.format == "table" and not output.quiet and not no_stream
    if live and animates(sys.stdout):
        _live(client, wanted, output, interval)
        return
    before = _look(client, wanted)
    if before and not output.quiet:
        time.sleep(_FIRST_INTERVAL)
        after = _look(client, wanted)
    else:
        after = before
    print_items(with_rates(before, after), FIELDS, DEFAULT, output, empty=_EMPTY)


def _running(client: BangerClient, names: Sequence[str]) -> set[str]:
    """The ids of the named VMs. Raises ``Conflict`` for one that does not run."""
    ids = set()
    for name in expand(client, names, everything=False):
        vm = find_vm(client, name)
        if vm["state"] not in _LIVE_STATES:
            raise Conflict(
                f"{vm['name']} has no statistics",
                cause=f"it is {vm['state']}, and only a running VM uses anything",
                resolution=f"banger start {vm['name']}",
            )
        ids.add(vm["id"])
    return ids


def _look(client: BangerClient, wanted: set[str] | None) -> list[StatsView]:
    return [one for one in client.all_stats() if wanted is None or one["id"] in wanted]


def _live(client: BangerClient, wanted: set[str] | None, output: Output, interval: float) -> None:
    chosen = choose_fields(FIELDS, DEFAULT, output)
    columns = [Column(field.key, field.title, field.right, field.shrink) for field in chosen]
    screen = Redrawn(sys.stdout)
    before = _look(client, wanted)
    pause = min(_FIRST_INTERVAL, interval)
    while True:
        time.sleep(pause)
        after = _look(client, wanted)
        items = sort_items(with_rates(before, after), FIELDS, output.sort)
        rows = [[field.show(item) for field in chosen] for item in items]
        width = terminal_width() if output.truncate else 0
        screen.draw(
            render_table(columns, rows, columns_wide=width, header=output.header)
            if rows
            else [_EMPTY]
        )
        before, pause = after, interval
        if not after and wanted is not None:
            return  # all that were asked for have ended
