"""``daemon status``, ``start``, ``stop``, ``restart`` and ``logs``."""

from __future__ import annotations

import sys
import time
from typing import Any, BinaryIO

import click

from banger.build import build_id
from banger.cli.lazy import Command
from banger.cli.listing import print_json
from banger.cli.moments import age
from banger.cli.session import note, paths, say
from banger.cli.sheet import print_sheet
from banger.client import autostart
from banger.client.client import BangerClient
from banger.client.transport import NOT_THERE
from banger.errors import DaemonUnreachable, NotFound

#: Seconds between two looks at the end of the log.
LOG_PAUSE = 0.25


@click.command(
    "status",
    cls=Command,
    examples=("banger daemon status", "banger daemon status --json"),
    help="Show whether bangerd runs, where its files are, and which drivers it uses and why.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(*, as_json: bool) -> int:
    where = paths()
    try:
        daemon = autostart.connect_running(where).daemon()
    except NOT_THERE:
        if as_json:
            print_json({"running": False, "socket": str(where.socket)})
        else:
            say("bangerd is not running; the next command starts it")
        return DaemonUnreachable.exit_status
    if as_json:
        print_json({"running": True, **daemon})
        return 0
    current = daemon.get("build") == build_id()
    print_sheet(
        [
            ("state", "running"),
            ("version", f"{daemon['version']} ({daemon['build']})"),
            ("build", "current" if current else "another one: banger daemon restart"),
            ("pid", str(daemon["pid"])),
            ("up", age(daemon["started_at"])),
            ("vms", f"{daemon['vms_total']}, {daemon['vms_running']} running"),
            *((f"{kind} driver", _driver(driver)) for kind, driver in daemon["drivers"].items()),
            ("socket", daemon["socket"]),
            ("database", daemon["database"]),
            ("log", daemon["log"]),
        ]
    )
    return 0


def _driver(driver: dict[str, Any]) -> str:
    words = [str(driver.get(key) or "") for key in ("name", "version", "accelerator")]
    text = " ".join(word for word in words if word)
    return f"{text}: {driver['reason']}" if driver.get("reason") else text


@click.command("start", cls=Command, examples=("banger daemon start",), help="Start bangerd.")
def start() -> None:
    where = paths()
    try:
        autostart.connect_running(where).about()
    except NOT_THERE:
        autostart.start(where)
        say("bangerd started")
    else:
        say("bangerd is running already")


@click.command(
    "stop",
    cls=Command,
    examples=("banger daemon stop",),
    help="Stop bangerd. VMs go on running, and the next command starts it again.",
)
def stop() -> None:
    stopped = autostart.stop(autostart.connect_running(paths()))
    say("bangerd stopped; VMs go on running" if stopped else "bangerd is not running")


@click.command(
    "restart",
    cls=Command,
    examples=("banger daemon restart",),
    help="Stop bangerd and start it again. VMs go on running.",
)
def restart() -> None:
    where = paths()
    autostart.stop(BangerClient(str(where.socket)))
    autostart.start(where)
    say("bangerd restarted")


@click.command(
    "logs",
    cls=Command,
    examples=("banger daemon logs", "banger daemon logs -f -n 20"),
    help="Show bangerd's log.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 1_000_000), default=200, metavar="N",
    help="The last N lines (200).",
)  # fmt: skip
def logs(*, follow: bool, lines: int) -> None:
    path = paths().daemon_log
    try:
        file = path.open("rb")
    except OSError as error:
        raise NotFound(
            "bangerd has no log yet",
            cause=f"{path}: {error.strerror}",
            resolution="banger daemon start",
        ) from None
    with file:
        _write(b"".join(_last_lines(file, lines)))
        if follow:
            if sys.stderr.isatty():
                note(f"following {path}; Ctrl-C ends")
            while True:
                _write(file.read())
                time.sleep(LOG_PAUSE)


def _last_lines(file: BinaryIO, count: int) -> list[bytes]:
    """The last ``count`` lines, looking at no more than is needed; the file ends up at its end."""
    end = file.seek(0, 2)
    size = 64 * 1024
    while True:
        start = max(0, end - size)
        file.seek(start)
        found = file.read(end - start).splitlines(keepends=True)
        if start == 0 or len(found) > count:
            return found[-count:]
        size *= 4


def _write(data: bytes) -> None:
    if data:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
