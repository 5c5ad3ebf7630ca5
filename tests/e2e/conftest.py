"""One booted VM that the tests of a file share, as long as they leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.built_image import BuiltImage
from tests.plugins.fixtures import temporary_home
from tests.plugins.home import Home

SHARED = "web"


@pytest.fixture(scope="module")
def booted(built_image: Path) -> Iterator[Home]:
    """A home in which the VM ``web`` runs and answers."""
    with temporary_home() as home:
        BuiltImage(built_image).give_to(home.paths)
        home.ok("run", "--name", SHARED)
        yield home
