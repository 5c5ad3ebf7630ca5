"""``logs``: a VM's serial console as it was recorded."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator

import click

from banger.cli.expected_lines import why_expected
from banger.cli.lazy import Command
from banger.cli.names import vm_names
from banger.cli.session import command_path, connect, say, wants_colour
from banger.cli.targets import suggest
from banger.cli.text import clean, paint
from banger.errors import InvalidInput, NotFound

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
    expected = bool(why_expected(body))
    if not terminal:
        return body + (MARK.encode() if expected else b"") + end
    text = clean(_ESCAPES.sub(b"", body).replace(b"\r", b"").decode(errors="replace"))
    if expected:
        text = paint(text + MARK, "dim", colour=colour)
    return text.encode() + (b"\n" if b"\n" in end else b"")


def line_as_json(line: bytes) -> str:
    """One line as an object: its text as it was recorded, and why it is expected if it is."""
    import json

    why = why_expected(line)
    text = line.rstrip(b"\r\n").decode(errors="replace")
    return json.dumps({"line": text, "expected": bool(why), "why": why}, ensure_ascii=False)


@click.command(
    "logs",
    cls=Command,
    examples=("banger logs web", "banger logs -f -n 20 web", "banger logs --hide-expected web"),
    help="Show the serial console's log. Lines that look bad and are not are marked as expected.",
)
@click.argument("name", shell_complete=vm_names())
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 10_000_000), default=None, metavar="N",
    help="Only the last N lines.",
)  # fmt: skip
@click.option("--hide-expected", is_flag=True, help="Leave the expected lines out.")
@click.option("--raw", is_flag=True, help="The file as it is, escape sequences too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def logs(
    *, name: str, follow: bool, lines: int | None, hide_expected: bool, raw: bool, as_json: bool
) -> None:
    if raw and (as_json or hide_expected):
        raise InvalidInput(
            f"--raw and {'--json' if as_json else '--hide-expected'} exclude each other",
            cause="--raw passes the file on as it is",
            resolution=f"{command_path()} --raw {name}",
        )
    client = connect()
    pieces = client.logs(name, follow=follow, lines=lines or 0)
    terminal, colour = sys.stdout.isatty(), wants_colour(sys.stdout)
    out = sys.stdout.buffer
    try:
        for line in pieces if raw else whole_lines(pieces):
            if hide_expected and why_expected(line):
                continue
            if as_json:
                say(line_as_json(line))
            else:
                out.write(line if raw else render_line(line, terminal=terminal, colour=colour))
            sys.stdout.flush()
    except NotFound as error:
        raise suggest(client, error, name) from None
    finally:
        pieces.close()
