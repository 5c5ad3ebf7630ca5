"""Follows an operation that makes an image, and says what it has made."""

from __future__ import annotations

from collections.abc import Callable

from banger.cli.interrupts import held
from banger.cli.listing import print_json
from banger.cli.progress import complete
from banger.cli.session import note, say
from banger.cli.targets import detach
from banger.cli.units import format_size
from banger.client.client import BangerClient
from banger.client.views import OperationView


def make_image(
    client: BangerClient,
    begin: Callable[[], OperationView],
    done: str,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Begin, follow and report; the work goes on when the person no longer waits for it.

    ``done`` is the word before the image's name. Raises ``KeyboardInterrupt`` and what failed.
    """
    operation = None
    try:
        with held():
            operation = begin()
        complete(client, operation, quiet=quiet or as_json)
    except KeyboardInterrupt:
        if operation is not None:
            detach([operation])
        raise
    image = client.image(operation["target"]["id"])
    if as_json:
        print_json(image)
    elif quiet:
        say(image["name"])
    else:
        say(f"{done} {image['name']} ({format_size(image['allocated_bytes'])} on disk)")
        note(f"use it: banger run --image {image['name']}")
