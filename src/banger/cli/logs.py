"""``logs``: a VM's serial console as it was recorded."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator

import click

from banger.cli.lazy import Command
from banger.cli.names import vm_names
from banger.cli.session import connect, wants_colour
from banger.cli.targets import suggest
from banger.cli.text import clean, paint
from banger.errors import NotFound

#: Lines that look like faults and are none on these machines (spec row V5).
EXPECTED = (
    b"PCI: Fatal: No config space access function found",
    b"MissingAddressRange",
    b"SELinux: Could not open policy file",
)
MARK = "  [expected]"
#: Escape sequences: CSI, OSC and the two-character ones.
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in ``pieces``, each with its end; the last may lack it."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def render_line(line: bytes, *, terminal: bool, colour: bool) -> bytes:
    """One line, marked if it is expected; on a terminal without anything that moves it."""
    body = line.rstrip(b"\r\n")
    end = line[len(body) :]
    expected = any(mark in body for mark in EXPECTED)
    if not terminal:
        return body + (MARK.encode() if expected else b"") + end
    text = clean(_ESCAPES.sub(b"", body).replace(b"\r", b"").decode(errors="replace"))
    if expected:
        text = paint(text + MARK, "dim", colour=colour)
    return text.encode() + (b"\n" if b"\n" in end else b"")


@click.command(
    "logs",
    cls=Command,
    examples=("banger logs web", "banger logs -f -n 20 web"),
    help="Show the serial console's log. Lines that look bad and are not are marked as expected.",
)
@click.argument("name", shell_complete=vm_names())
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 10_000_000), default=None, metavar="N",
    help="Only the last N lines.",
)  # fmt: skip
@click.option("--raw", is_flag=True, help="The file as it is, escape sequences too.")
def logs(*, name: str, follow: bool, lines: int | None, raw: bool) -> None:
    client = connect()
    pieces = client.logs(name, follow=follow, lines=lines or 0)
    terminal, colour = sys.stdout.isatty(), wants_colour(sys.stdout)
    out = sys.stdout.buffer
    try:
        for line in pieces if raw else whole_lines(pieces):
            out.write(line if raw else render_line(line, terminal=terminal, colour=colour))
            out.flush()
    except NotFound as error:
        raise suggest(client, error, name) from None
    finally:
        pieces.close()
