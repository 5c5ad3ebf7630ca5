"""``cp``: files and folders into and out of a VM."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

import click

from banger.cli.failures import UsageMistake
from banger.cli.guest_command import run_in_guest
from banger.cli.lazy import Command
from banger.cli.session import connect, note
from banger.cli.targets import suggest
from banger.cli.text import clean
from banger.cli.transfer import TransferDisplay
from banger.client.copying import Copying, check_source
from banger.client.guest_shell import GuestShell, guest_shell
from banger.client.packing import total_bytes
from banger.errors import PARTLY_FAILED, CommandFailed, InvalidInput, NotFound

PIECE = 256 * 1024


class Place(NamedTuple):
    """A path, in the VM ``vm`` or on the host if that is empty."""

    vm: str
    path: str


def parse_place(text: str) -> Place:
    """``NAME:PATH`` or a path of the host; ``./a:b`` and ``/a:b`` are always the host's."""
    vm, colon, path = text.partition(":")
    if not colon or "/" in vm or vm in ("", ".", ".."):
        return Place("", text)
    return Place(vm, path or ".")


@click.command(
    "cp",
    cls=Command,
    examples=(
        "banger cp notes.txt web:/srv/",
        "banger cp web:/var/log ./logs",
        "banger cp - web:/etc/motd < motd",
    ),
    help="Copy files and folders into a VM or out of it, as cp -r does; - is stdin or stdout.",
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path())
@click.argument("target", metavar="TARGET", type=click.Path())
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def copy(*, sources: tuple[str, ...], target: str, quiet: bool) -> int:
    destination = parse_place(target)
    places = [parse_place(source) for source in sources]
    vms = {place.vm for place in places}
    if len(vms) > 1 or bool(destination.vm) == bool(places[0].vm):
        raise UsageMistake(
            "cp needs a VM on exactly one side",
            cause="copying is between this machine and one VM: NAME:PATH",
            resolution="banger cp FILE web:/tmp/",
        )
    name = destination.vm or places[0].vm
    if "-" in (place.path for place in (*places, destination) if not place.vm):
        return _stream(name, places, destination)
    shell = _shell(name)
    with TransferDisplay(f"copy {name}", quiet=quiet) as display:
        copying = Copying(shell, name, many=len(places) > 1, progress=display.advance)
        for place in places:
            _copy_one(copying, place, destination, display)
    for path in copying.skipped:
        note(f"warning: skipped {clean(path)}: neither a file nor a folder nor a link")
    return PARTLY_FAILED if copying.skipped else 0


def _shell(name: str) -> GuestShell:
    client = connect()
    try:
        return guest_shell(client, client.access(name))
    except NotFound as error:
        raise suggest(client, error, name) from None


def _copy_one(copying: Copying, source: Place, target: Place, display: TransferDisplay) -> None:
    try:
        if target.vm:
            display.expect(total_bytes(check_source(source.path)[0]))
            copying.to_guest(source.path, target.path)
        else:
            copying.from_guest(source.path, target.path)
    except OSError as error:
        where = f" ({error.filename})" if isinstance(error.filename, str) else ""
        raise CommandFailed(
            f"{source.path} could not be copied",
            cause=f"{error.strerror or error}{where}",
            resolution="df -h ." if error.errno == errno.ENOSPC else f"ls -ld {target.path}",
        ) from None


def _stream(name: str, places: list[Place], destination: Place) -> int:
    """One file from stdin into the guest, or from the guest to stdout."""
    if len(places) > 1:
        raise InvalidInput(
            "- goes with one file only",
            cause="stdin and stdout hold one stream",
            resolution=f"banger cp - {name}:/tmp/file",
        )
    if destination.vm:
        path, verb = destination.path, "written"
        done = _shell(name).feed(["sh", "-c", 'cat > "$1"', "sh", path], _stdin_pieces())
        status, errors = done
    else:
        path, verb = places[0].path, "read"
        status, errors = run_in_guest(connect(), name, ["cat", "--", path], stdin=False), ""
    if status:
        raise CommandFailed(
            f"{path} in {name} could not be {verb}",
            cause=errors.strip() or f"cat in the guest ended with status {status}",
            resolution=f"banger exec {name} -- ls -ld {path}",
        )
    return 0


def _stdin_pieces() -> Iterator[bytes]:
    while piece := os.read(sys.stdin.fileno(), PIECE):
        yield piece
