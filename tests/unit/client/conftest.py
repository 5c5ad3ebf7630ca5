"""The client against a fake daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.cli_home import CLIHome, cli_home


@pytest.fixture
def banger() -> Iterator[CLIHome]:
    """``banger("ls")`` runs the command; ``banger.fake`` is the daemon behind it."""
    with cli_home() as home:
        yield home
