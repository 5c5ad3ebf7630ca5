"""The TUI against a fake daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.screen_home import ScreenHome


@pytest.fixture
def home() -> Iterator[ScreenHome]:
    """``home.run()`` shows the app; ``home.fake`` is the daemon behind it."""
    home = ScreenHome()
    try:
        yield home
    finally:
        home.close()
