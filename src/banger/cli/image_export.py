"""``image export``: an image as one file that ``image import`` takes, here or elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from banger.cli.image_archive import pack
from banger.cli.lazy import Command
from banger.cli.names import image_names
from banger.cli.session import connect, note, say
from banger.cli.units import format_size
from banger.errors import Conflict, HostNotReady, InvalidInput


@contextlib.contextmanager
def _target(out: str) -> Iterator[BinaryIO]:
    """The file to write, which has its name only when it is whole."""
    if out == "-":
        if sys.stdout.isatty():
            raise InvalidInput(
                "an image is not written to a terminal",
                cause="standard output is one",
                resolution="banger image export NAME --out FILE",
            )
        yield sys.stdout.buffer
        return
    part = f"{out}.part"
    try:
        with Path(part).open("xb") as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.link(part, out)
            finally:
                Path(part).unlink()
    except FileExistsError as error:
        raise InvalidInput(
            f"{error.filename2 or error.filename} exists already",
            cause="an export writes over nothing",
            resolution=f"rm {error.filename2 or error.filename}, or another --out",
        ) from None


@click.command(
    "export",
    cls=Command,
    examples=(
        "banger image export debian",
        "banger image export debian --gzip --out debian.tar.gz",
        "banger image export debian --out - | zstd >debian.tar.zst",
    ),
    help="""Write an image into one file, with its kernel.

    banger image import takes it on this machine or another, as it is, in gzip or in zstd. It is a
    tar, and tar can unpack it.""",
)
@click.argument("name", shell_complete=image_names)
@click.option("-o", "--out", metavar="FILE", help="The new file, - for standard output (NAME.tar).")
@click.option("--gzip", "in_gzip", is_flag=True, help="Compress it.")
@click.option("-q", "--quiet", is_flag=True, help="Print the file's name only.")
def export(*, name: str, out: str | None, in_gzip: bool, quiet: bool) -> None:
    image = connect().image(name)
    if image["state"] != "ready":
        raise Conflict(
            f"the image {image['name']} cannot be exported",
            cause=f"it is {image['state']}",
            resolution="banger operation list",
        )
    path = out or f"{image['name']}.tar{'.gz' if in_gzip else ''}"
    try:
        if path != "-" and Path(path).exists():
            raise InvalidInput(
                f"{path} exists already",
                cause="an export writes over nothing",
                resolution=f"rm {path}, or another --out",
            )
        with _target(path) as file:
            written = pack(Path(image["directory"]), file, in_gzip=in_gzip)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HostNotReady(
            f"the image {image['name']} cannot be written to {path}",
            cause=error.strerror or str(error),
            resolution=f"df -h {Path(path).parent}",
        ) from error
    if path == "-":
        return
    if quiet:
        say(path)
    else:
        say(f"exported {image['name']} to {path} ({format_size(written)})")
        note(f"take it elsewhere: banger image import {path} --name {image['name']}")
