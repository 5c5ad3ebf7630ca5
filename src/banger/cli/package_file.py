"""Reads a package list that a person names, to send its lines."""

from __future__ import annotations

from banger.cli.session import command_path
from banger.cli.units import format_size
from banger.errors import InvalidInput

#: The largest package list that is sent.
MAX_LIST_BYTES = 1024 * 1024


def read_list(path: str) -> list[str]:
    """The lines of the file behind ``--packages``. Raises ``InvalidInput``."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib adds nothing here
            data = file.read(MAX_LIST_BYTES + 1)
        if len(data) > MAX_LIST_BYTES:
            raise ValueError(f"it is larger than {format_size(MAX_LIST_BYTES)}")
        return data.decode().splitlines()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"--packages {path} cannot be used",
            cause=getattr(error, "strerror", None) or str(error),
            resolution=f"{command_path()} --help",
        ) from None
