"""News that wait until the screen looks: bounded, for a shell may have the terminal for hours."""

from __future__ import annotations

import threading

from banger.tui.world import Figures, News

#: Pieces that may wait; after more, one reading of all lists says the same.
LIMIT = 20_000


class Inbox:
    """Any thread puts in; the app takes out. Of figures only the latest waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[News] = []

    def put(self, news: News) -> bool:
        """Add ``news``; True if nothing waited before."""
        with self._lock:
            first = not self._waiting
            if isinstance(news, Figures):
                self._waiting = [one for one in self._waiting if not isinstance(one, Figures)]
            self._waiting.append(news)
        return first

    def replace(self, news: News) -> None:
        """Forget what waits, for ``news`` says all of it."""
        with self._lock:
            self._waiting = [news]

    def take(self) -> list[News]:
        """Everything that waited, oldest first."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return waiting

    @property
    def full(self) -> bool:
        return len(self._waiting) >= LIMIT
