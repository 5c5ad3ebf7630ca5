"""The TUI against a fake daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.fakes.screen_home import ScreenHome


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScreenHome]:
    """``home.run()`` shows the app; ``home.fake`` is the daemon behind it.

    What differs between machines is the same: their cores, their time zone, made-up names.
    """
    # Textual waits 20 ms and more after each key, until nearly nothing is done in the process.
    monkeypatch.setattr("textual._wait.SLEEP_GRANULARITY", 0.004)
    monkeypatch.setattr("textual._wait.SLEEP_IDLE", 0.002)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("time.localtime", time.gmtime)
    monkeypatch.setattr("banger.proposals.propose", lambda _taken: "calm-otter")
    home = ScreenHome()
    try:
        yield home
    finally:
        home.close()
