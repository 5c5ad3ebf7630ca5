"""Runs the programs of one build: everything they print is logged, counted and remembered."""

from __future__ import annotations

import shlex
import time
from collections import deque
from pathlib import Path

from banger.drivers.image.base import ProgressCallback
from banger.drivers.image.failures import TAIL_LINES
from banger.drivers.image.progress import ProgressReader, Reading
from banger.host.command import Command, Completed, run
from banger.host.files import explained

#: Seconds between two reports of the same phase: more would only make events.
_QUIET = 0.1


class BuildOutput:
    """The log, the progress and the last lines of one build."""

    def __init__(self, log: Path, progress: ProgressCallback) -> None:
        self._log = log
        self._progress = progress
        self._reader = ProgressReader()
        self._phase = ""
        self._reported = 0.0
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    async def run(self, command: Command) -> Completed:
        """Run a program of the build. Raises as ``host.command.run`` does."""
        with explained(f"write the log {self._log}"), self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(command.argv)}\n")
        return await run(command, on_line=self._line, log=self._log)

    def report(self, phase: str, fraction: float | None, detail: str) -> None:
        """Tell how far the build is; too frequent reports inside a phase are dropped."""
        now = time.monotonic()
        if phase == self._phase and now - self._reported < _QUIET and fraction != 1.0:
            return
        self._phase, self._reported = phase, now
        self._progress(phase, fraction, detail)

    def _line(self, line: str) -> None:
        self.tail.append(line)
        reading = self._reader.feed(line)
        if reading is not None:
            self._read(reading)

    def _read(self, reading: Reading) -> None:
        self.report(reading.phase, reading.fraction, reading.detail)
