"""Shows how much of a copy is done, on a terminal only."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from banger.cli.progress import BAR, QUIET_TIME
from banger.cli.session import animates, terminal_width
from banger.cli.text import shorten
from banger.cli.units import format_size

#: Seconds between two drawings.
PAUSE = 0.1


class TransferDisplay:
    """A line with bytes, rate and, where the total is known, a bar."""

    def __init__(self, title: str, *, quiet: bool = False):
        self._title = title
        self._live = not quiet and animates(sys.stderr)
        self._began = time.monotonic()
        self._next = self._began + QUIET_TIME
        self._done = 0
        self._total = 0
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def expect(self, size: int) -> None:
        """Add ``size`` bytes to what is still to come."""
        self._total += size

    def advance(self, size: int) -> None:
        """Count ``size`` more bytes."""
        self._done += size
        now = time.monotonic()
        if self._live and now >= self._next:
            self._next = now + PAUSE
            text = render_transfer(self._title, self._done, self._total, now - self._began)
            sys.stderr.write("\r\x1b[K" + shorten(text, (terminal_width() or 80) - 1))
            sys.stderr.flush()
            self._drawn = True


def render_transfer(title: str, done: int, total: int, seconds: float) -> str:
    """The line: ``copy web  [####----] 40%  8 MiB of 20 MiB  4 MiB/s``."""
    parts = [title]
    if total:
        share = min(1.0, done / total)
        full = round(share * BAR)
        parts.append(f"[{'#' * full}{'-' * (BAR - full)}] {share:4.0%}")
    parts.append(format_size(done) + (f" of {format_size(total)}" if total else ""))
    if seconds > 0:
        parts.append(f"{format_size(int(done / seconds))}/s")
    return "  ".join(parts)
